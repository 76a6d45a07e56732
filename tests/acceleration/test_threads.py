"""The number of threads is the run's: set by the commands, kept in its record, and given back."""

import contextlib
import os
import pkgutil
import subprocess
import sys

import pytest
import torch

import air
from air.acceleration.threads import computing_with
from air.cli.compose import compose_config
from air.runs.checkpoint import read_latest
from air.runs.folder import read_config
from air.training.run import train
from air.training.trainer import Trainer
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY


@pytest.fixture(params=[1, 2])
def around(request):
    """Some number of threads before the code under test, which is to be the same after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


def spy(monkeypatch, target):
    """Record the number of threads whenever a function is called."""
    function = pkgutil.resolve_name(target)
    seen = []

    def wrapped(*args, **kwargs):
        seen.append(torch.get_num_threads())
        return function(*args, **kwargs)

    monkeypatch.setattr(target, wrapped)
    return seen


def test_threads_are_given_back(around):
    with contextlib.suppress(ValueError), computing_with(3):
        assert torch.get_num_threads() == 3
        raise ValueError("inside")


def test_a_run_and_what_looks_at_it_compute_with_its_number(data_root, tmp_path, monkeypatch):
    seen = []
    step = Trainer.step
    monkeypatch.setattr(
        Trainer, "step", lambda self: (seen.append(torch.get_num_threads()), step(self))[1]
    )
    folder = tmp_path / "run"
    overrides = ["experiment=smoke", f"data.root={data_root}", "train.step=eager"]
    overrides += ["train.threads=3", "train.num_iterations=2", "train.num_pictures=0"]
    train(compose_config(overrides), folder, [])
    result = run_script("train", f"resume={folder}", "train.num_iterations=3")
    assert result.returncode == 0, result.stderr
    assert seen == [3, 3, 3]
    assert read_config(folder)["train"]["threads"] == 3
    assert torch.get_num_threads() == 1

    inferring = spy(monkeypatch, "air.model.air.AIR.infer_scenes")
    sampling = spy(monkeypatch, "air.pictures.gallery.sample_scenes")
    for name, options, seen in (
        ("evaluate", ["evaluators=[counts]", "num_images=10"], inferring),
        ("visualize", ["pictures=[confusion]", "formats=[png]", "num_images=10"], inferring),
        ("sample", ["counts=[1]", "formats=[png]"], sampling),
    ):
        result = run_script(name, f"run={folder}", *options)
        assert result.returncode == 0, result.stderr
        assert set(seen) == {3}
        seen.clear()


def test_load_and_infer_leave_the_threads_of_whoever_calls_them_alone(around, smoke_run):
    model = air.load(smoke_run)
    assert torch.get_num_threads() == around
    model.infer(torch.rand(2, 50, 50))


def test_a_run_is_the_same_whatever_is_around_it(data_root, tmp_path):
    before = torch.get_num_threads()
    weights = []
    for number in (1, 2):
        torch.set_num_threads(number)
        overrides = ["experiment=smoke", f"data.root={data_root}", "train.num_iterations=3"]
        overrides += ["train.step=eager", "train.num_pictures=0"]
        folder = tmp_path / str(number)
        train(compose_config(overrides), folder, [])
        weights.append(read_latest(folder)[1].model)
    torch.set_num_threads(before)
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_passively_from_before_torch_is_loaded(given, expected):
    script = REPOSITORY / "scripts" / "evaluate.py"
    code = (
        "import os, runpy, sys\n"
        f"sys.argv = ['evaluate.py', '--cfg', 'job']\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
        f"assert os.environ['OMP_WAIT_POLICY'] == {expected!r}\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
