"""Files and folders of any name, relative to the folder where a command was started."""

import re
import subprocess
import sys

import numpy as np
import pytest

from air.runs.folder import read_config
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY

ODD = "my (2)=[x], ü"
SHORT = (
    "experiment=smoke",
    "train.num_iterations=4",
    "train.batch_size=16",
    "train.num_pictures=0",
)
SHORT += ("train.step=eager", "model.window_size=10", "data=npz")


def save_images(path):
    x = np.random.default_rng(0).random((100, 20, 20)).astype(np.float32)
    np.savez(path, x=x, count=np.arange(100) % 3)


def test_a_run_of_odd_names_is_resumed_and_evaluated_from_any_folder(tmp_path, monkeypatch):
    begun, elsewhere = tmp_path / "begun here", tmp_path / "elsewhere"
    begun.mkdir()
    elsewhere.mkdir()
    save_images(begun / f"{ODD}.npz")
    where = (f"data.path={ODD}.npz", f"hydra.run.dir={ODD}", "hydra.job.chdir=true")
    monkeypatch.chdir(begun)
    result = run_script("train", *SHORT, *where)
    assert result.returncode == 0, result.stderr
    run_dir = begun / ODD
    assert {path.name for path in begun.iterdir()} == {ODD, f"{ODD}.npz"}
    assert read_config(run_dir)["data"]["path"] == str(begun / f"{ODD}.npz")
    assert read_config(run_dir)["data"]["test_path"] is None

    # What is printed for it, in a shell and from another folder.
    monkeypatch.chdir(elsewhere)
    result = run_script("train", *SHORT, where[0], f"hydra.run.dir=../begun here/{ODD}")
    assert "already holds a run" in result.stderr
    (words,) = re.findall(r"continue it with (.*), or choose another folder", result.stderr)
    result = subprocess.run(
        f"{sys.executable} {REPOSITORY}/scripts/train.py {words} train.num_iterations=6 "
        "hydra.job.chdir=true",
        shell=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert "resumed at iteration 4" in result.stdout
    given = (f"run=../begun here/{ODD}", "evaluators=[counts]", "output=told (1).json")
    result = run_script("evaluate", *given, "hydra.job.chdir=true", "hydra.run.dir=hydras")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in elsewhere.iterdir()} == {"told (1).json", "hydras"}
    assert not any((elsewhere / "hydras").iterdir())


def test_a_relative_root_stays_as_it_was_given(tmp_path, monkeypatch):
    """So that a run that was copied to another machine can draw its scenes again there."""
    monkeypatch.chdir(tmp_path)
    few = ("train.num_iterations=1", "train.num_pictures=0", "train.step=eager")
    where = ("data.root=my data", "hydra.run.dir=run", "hydra.job.chdir=true")
    result = run_script("train", "experiment=smoke", *few, *where)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"my data", "run"}
    assert read_config(tmp_path / "run")["data"]["root"] == "my data"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("data.path=absent (1)=[x].npz", "data.path: {}/absent (1)=[x].npz: "),
        ("data.path=null", "data.path: {}/null: "),
        ("data.path=", "data.path: must not be empty, got ''"),
        ("resume=absent (1)", "resume: {}/absent (1) holds no run"),
        ("resume=~/absent", "resume: {}/absent holds no run"),
    ],
)
def test_a_path_that_leads_nowhere_is_named_as_it_was_typed(word, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    result = run_script("train", *SHORT, word)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {line.format(tmp_path)}")
    assert len(result.stderr.splitlines()) == 1
