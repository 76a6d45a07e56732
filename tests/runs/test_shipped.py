"""The models that come with the package: what they can do, who finds them, and what stays whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import air
from air.cli.compose import compose_config
from air.config.parsing import parse_config
from air.data.loading import load_data
from air.errors import CheckpointError, RunFolderError
from air.fields import config_values
from air.runs.checkpoint import read_checkpoint, save_weights, write_checkpoint
from air.runs.shipped import SHIPPED_MODELS, shipped_checkpoint
from air.runs.trained import open_run
from tests.helpers.checkpoints import checkpoint_of
from tests.helpers.in_process import run_script
from tests.helpers.models import tiny
from tests.helpers.repository import REPOSITORY
from tests.helpers.wandb_reader import offline_runs, read_offline_run

NAME = "multi_mnist"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Be in an empty folder, from which commands are started; the package must not change."""

    def package():
        files = (each for each in (REPOSITORY / "air").rglob("*") if "__pycache__" not in str(each))
        return {path: path.stat().st_mtime_ns for path in files}

    before = package()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert package() == before


@pytest.fixture
def few(data_root):
    """The data of training, of which fewer scenes are drawn."""
    return ("data=multi_mnist_small", "data.num_test=500", f"data.root={data_root}")


def test_it_counts_scenes_of_digits_that_it_never_saw(few):
    scenes = load_data(compose_config(few).data).test
    model = air.load(NAME)
    assert not model.training
    # 99 % are right, with a standard error of 0.45 %.
    assert (model.infer(scenes.images).count == scenes.count).float().mean() > 0.97
    assert torch.equal(
        model.infer(scenes.images[:9]).count_probs,
        open_run(NAME).air.infer(scenes.images[:9]).count_probs,
    )


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_it_is_small_and_knows_nothing_of_the_machine_it_was_trained_on(name):
    file = shipped_checkpoint(name)
    assert file.stat().st_size < 2.5e6
    checkpoint = read_checkpoint(file)
    assert not checkpoint.optimizer
    assert not checkpoint.random_states
    assert checkpoint.config["tracking"] == {"kind": "none"}
    assert checkpoint.config["data"].pop("root") == "outputs/data"
    assert "/" not in json.dumps(checkpoint.config)


def test_it_is_what_the_quickstart_trains():
    """If the quickstart has changed on purpose, air/README.md says how to make the file anew."""
    checkpoint = read_checkpoint(shipped_checkpoint(NAME))
    quickstart = compose_config(("tracking=none",))
    assert parse_config(checkpoint.config) == quickstart
    assert checkpoint.config == config_values(quickstart)
    assert checkpoint.iteration == quickstart.train.num_iterations


def test_what_is_shipped_infers_what_the_run_does(smoke_run, tmp_path):
    save_weights(smoke_run, tmp_path / "small.pt")
    images = torch.rand(4, 50, 50)
    one, other = (air.load(source).infer(images) for source in (smoke_run, tmp_path / "small.pt"))
    assert torch.equal(one.count_probs, other.count_probs)
    assert torch.equal(one.z_what, other.z_what)


def test_a_folder_or_a_file_of_that_name_comes_first(smoke_run, started):
    write_checkpoint(Path(NAME), checkpoint_of(tiny()))
    assert air.load(NAME).x_size == 6
    os.remove(NAME)
    shutil.copytree(smoke_run, NAME)
    assert open_run(NAME).iteration == 20
    assert open_run(NAME).folder == Path(NAME)
    shutil.rmtree(NAME)
    os.mkdir(NAME)
    with pytest.raises(RunFolderError, match=rf"\({NAME}\), got the folder {NAME}, "):
        open_run(NAME)
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        air.load(NAME)


def test_a_name_that_is_neither_is_told_what_may_be_given():
    allowed = rf"a shipped model \({NAME}\)"
    with pytest.raises(CheckpointError, match=rf"^mnist: no such checkpoint; must .* {allowed}$"):
        air.load("mnist")
    with pytest.raises(RunFolderError, match=rf"^run: must be .* {allowed}, got mnist$"):
        open_run("mnist")


def test_evaluate_takes_it_at_once(started, few):
    small = ("evaluators=[counts]", "num_images=60", "track=true")
    result = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "evaluate.py"), *few, *small],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    folder = started / "outputs" / "shipped" / NAME
    (written,) = folder.glob("evaluation-multi_mnist-*.json")
    assert f"written to {written.relative_to(started)}\n" in result.stdout
    tracked = read_offline_run(*offline_runs(folder))
    assert (tracked.name, tracked.job_type) == (NAME, "evaluate")


def test_visualize_takes_it_at_once(started, few):
    result = run_script("visualize", *few, "num_images=60", "pictures=[windows,training_curves]")
    assert result.returncode == 0, result.stderr
    assert "training_curves: not drawn: the run has no metrics.jsonl" in result.stdout
    pictures = started / "outputs" / "shipped" / NAME / "pictures"
    assert {path.name for path in pictures.iterdir()} == {"windows.png", "windows.pdf"}


def test_sample_takes_it_at_once_and_infer_by_its_name(started):
    result = run_script("sample", "counts=[1]", "num_scenes=2", "formats=[png]")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"outputs/shipped/{NAME}/pictures/samples.png\n"
    os.mkdir("photos")
    Image.fromarray(np.zeros((50, 50), np.uint8)).save("photos/nothing.png")
    result = run_script("infer", f"run={NAME}", "images=photos")
    assert result.returncode == 0, result.stderr
    found = started / "outputs" / "shipped" / NAME / "inferred" / "photos"
    assert (found / "counts.csv").read_text().splitlines()[1].startswith("nothing.png,0,")


def test_it_is_not_trained_further(started):
    result = run_script("train", f"resume={NAME}")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: resume: {started / NAME} holds no run (it has no config.yaml); the shipped model "
        "of that name cannot be trained further\n"
    )
    assert not any(started.iterdir())
