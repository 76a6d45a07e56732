"""Runs with other likelihoods, from the command line to what is measured of them."""

import json

import numpy as np
import pytest

import air
from tests.helpers.in_process import run_script

BERNOULLI = ("likelihood=bernoulli", "compositing=over")


def trained(tmp_path, *overrides, levels=(0, 255)):
    """Train a little on squares of two levels, which a file is named by."""
    images = np.full((80, 24, 24), levels[0], np.uint8)
    for i, (x, y) in enumerate(np.random.default_rng(0).integers(0, 18, (80, 2))):
        images[i, y : y + 6, x : x + 6] = levels[1]
    np.savez(tmp_path / f"{levels[1]}.npz", x=images)
    folder = tmp_path / "run"
    given = (
        "experiment=smoke",
        "data=npz",
        f"data.path={tmp_path / f'{levels[1]}.npz'}",
        "train.batch_size=16",
        "train.num_iterations=4",
        "train.log_every=1",
        "train.step=eager",
        "train.num_pictures=0",
        "tracking=none",
        f"hydra.run.dir={folder}",
    )
    return folder, run_script("train", *given, *overrides)


@pytest.mark.parametrize(
    "choice",
    [("likelihood=normal_learned",), BERNOULLI],
    ids=["normal_learned", "bernoulli"],
)
def test_it_is_trained_evaluated_and_sampled(tmp_path, choice):
    folder, result = trained(tmp_path, *choice)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    sds = [line["train/likelihood_sd"] for line in lines if "train/likelihood_sd" in line]
    if choice is BERNOULLI:
        assert not sds
    else:
        assert len(set(sds)) == 4  # each step learns it
        assert air.load(folder).model.likelihood.metrics()["likelihood_sd"] == sds[-1]
    few = ("evaluators=[elbo,bound]", "bound.num_images=2", "bound.num_samples=[1,10]")
    result = run_script("evaluate", f"run={folder}", *few)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((folder / "evaluation.json").read_text())["metrics"]
    assert metrics["bound/k_10"] is not None
    assert run_script("sample", f"run={folder}", "num_scenes=2").returncode == 0


def test_images_that_are_not_black_and_white_are_refused_in_training_and_later(tmp_path):
    folder, result = trained(tmp_path, *BERNOULLI, levels=(0, 200))
    assert result.returncode == 1
    line = "data: must be images of black and white pixels alone with likelihood=bernoulli"
    assert result.stderr.splitlines()[-1].startswith(f"error: {line}"), result.stderr
    assert not folder.exists()
    assert trained(tmp_path, *BERNOULLI, "train.num_iterations=1")[1].returncode == 0
    result = run_script("evaluate", f"run={folder}", "data=npz", f"data.path={tmp_path}/200.npz")
    assert result.returncode == 1
    assert line in result.stderr
