"""What every test has: a clean parameter store, validation, its own seed and cache, no account."""

from __future__ import annotations

import os
import subprocess
import sys

import pyro
import pytest
import torch

from tests.helpers.repository import REPOSITORY

# Small tensors, and other tests beside each: threads would only wait for one another.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests start


@pytest.fixture(autouse=True)
def _fresh_pyro():
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    with pyro.validation_enabled():
        yield


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path_factory):
    """Keep W&B away from the account and the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path_factory.mktemp("home") / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path_factory.mktemp("wandb")))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Keep the compiled steps of whoever runs the tests out of them, and theirs from growing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def wandb_home(monkeypatch, tmp_path):
    """W&B reads its environment once a session and looks for keys at home: give it new ones."""
    import wandb

    monkeypatch.delenv("WANDB_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    (tmp_path / "home").mkdir()
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """One cache of scenes for all runs of the session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def smoke_run(data_root, tmp_path_factory):
    """The folder of a run of 20 iterations, for what looks at runs; not to be written to."""
    from air.cli.compose import compose_config
    from air.training.run import train

    folder = tmp_path_factory.mktemp("smoke") / "run"
    overrides = ("experiment=smoke", f"data.root={data_root}", "train.step=eager")
    train(compose_config(overrides), folder, [])
    return folder


@pytest.fixture
def train_command(tmp_path, data_root):
    """Run `scripts/train.py` as a user does, in an empty folder."""

    def run(*overrides, check=True, env=None, under=()):
        result = subprocess.run(
            [*under, sys.executable, str(REPOSITORY / "scripts" / "train.py"), *overrides],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=240,
            env={**os.environ, **(env or {})},
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    # Recording takes longer than 20 plain steps; tests/training/test_trainer.py has both.
    run.smoke = ("experiment=smoke", f"data.root={data_root}", "train.step=eager")
    return run


@pytest.fixture
def uneven(data_root):
    """Configure runs of 12 iterations whose logging, looking and saving hardly ever coincide."""
    from air.cli.compose import compose_config

    def config(*overrides):
        small = ("train.num_iterations=12", "train.log_every=4", "train.eval_every=3")
        small += ("train.save_every=5", "train.eval_size=40", "train.batch_size=8")
        small += ("data.num_test=40", f"data.root={data_root}", "train.step=eager")
        return compose_config(("experiment=smoke", *small, "train.num_pictures=0", *overrides))

    return config


@pytest.fixture
def scored(monkeypatch):
    """Say how good a model of an `uneven` run is: so few iterations learn too little to differ."""
    from air.runs.best import BestModel

    metrics = {3: 0.2, 6: 0.7, 9: 0.6, 12: 0.8}
    see = BestModel.see
    monkeypatch.setattr(
        BestModel, "see", lambda self, iteration, _: see(self, iteration, metrics[iteration])
    )
