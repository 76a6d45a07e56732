"""`scripts/make_scenes.py`: the same scenes whatever the files, whole or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from air.cli.command import plain_values
from air.cli.compose import CONF
from air.config.parsing import parse_as
from air.data import make_shards as module
from air.data.config import MakeScenesConfig, MultiMNISTConfig, ShardsConfig
from air.data.loading import load_data
from air.data.make_shards import make_shards
from air.data.shards import load_shards
from air.errors import ConfigError, DataError, RunFolderError
from air.runs.lock import held
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY

SMALL = ("data.canvas_size=40", "num_train=250", "num_test=20", "scenes_per_file=100")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 40)


def config(out, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("make_scenes", [f"out={out}", *SMALL, *overrides])
    return parse_as(MakeScenesConfig, plain_values(composed))


def made(out, *overrides):
    make_shards(config(out, *overrides))
    return Path(out)


def scenes_of(folder):
    data = load_shards(ShardsConfig(kind="shards", path=str(folder), test_path=None))
    return data.train.subset(slice(None)), data.test


def assert_same(one, other):
    for name in ("images", "count", "labels", "boxes"):
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(a.numpy(), b.numpy(), name)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_scenes_depend_on_the_seed_and_not_on_files_or_numbers(tmp_path):
    train, test = scenes_of(made(tmp_path / "a"))
    assert (len(train), len(test), train.x_size) == (250, 20, 40)
    assert (train.count == (train.labels >= 0).sum(1)).all()  # the truth stays with its image
    assert (train.count == (~train.boxes.isnan()).all(-1).sum(1)).all()
    empty = (train.images.flatten(1) == 0).all(1)
    assert torch.equal(empty, train.count == 0)
    assert len(train.images.unique(dim=0)) > 150  # blocks differ

    for folder, overrides in (("b", ["scenes_per_file=33"]), ("c", ["scenes_per_file=1000"])):
        assert_same(scenes_of(made(tmp_path / folder, *overrides))[0], train)
    fewer, same_test = scenes_of(made(tmp_path / "d", "num_train=130"))
    assert_same(fewer, train.subset(slice(130)))
    assert_same(same_test, test)
    others, other_test = scenes_of(made(tmp_path / "e", "data.seed=1"))
    assert not torch.equal(others.images, train.images)
    assert not torch.equal(other_test.images, test.images)


def test_scenes_in_colour_are_the_first_ones_of_a_larger_folder(tmp_path):
    train, test = scenes_of(made(tmp_path / "a", "data=sprites"))
    assert train.images.shape == (250, 40, 40, 3)
    assert (train.count == (train.labels >= 0).sum(1)).all()
    fewer, same_test = scenes_of(made(tmp_path / "b", "data=sprites", "num_train=130"))
    assert_same(fewer, train.subset(slice(130)))
    assert_same(same_test, test)
    assert torch.equal(same_test.masks, test.masks)


def test_held_out_scenes_are_those_of_multi_mnist(tmp_path):
    made(tmp_path / "a")
    values = {**vars(config("x").data), "num_train": 1, "root": str(tmp_path)}
    expected = load_data(MultiMNISTConfig(**values)).test
    test = scenes_of(tmp_path / "a")[1]
    assert_same(test, expected)
    assert torch.equal(test.masks, expected.masks)


def test_an_interrupted_folder_is_finished_and_ends_the_same(tmp_path, monkeypatch):
    whole = contents(made(tmp_path / "whole"))
    folder, draw, drawn = tmp_path / "parts", module.draw_scenes, []

    def interrupted(*arguments, **keywords):
        drawn.append(1)
        if len(drawn) == 6:  # in the second file: held-out scenes first, then blocks
            raise KeyboardInterrupt
        return draw(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_scenes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made(folder)
    names = {path.name for path in folder.glob("train-?????.npy")}
    assert names == {"train-00000.npy"}
    assert not list(folder.glob("*.partial"))
    with pytest.raises(DataError, match=r"must hold 250 training images.* got 100; the command"):
        scenes_of(folder)
    (folder / "train-00001.npy.partial").write_bytes(b"of a killed process")
    before = (folder / "train-00000.npy").stat().st_mtime_ns
    made(folder)
    assert contents(folder) == whole
    assert (folder / "train-00000.npy").stat().st_mtime_ns == before
    before = {path: path.stat().st_mtime_ns for path in folder.glob("t*")}
    made(folder)  # nothing is left to do
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("t*")}


def test_other_settings_are_refused_and_change_nothing(tmp_path):
    before = contents(made(tmp_path / "a"))
    for override, message in (
        ("data.seed=1", r"holds scenes of other settings.*\(seed=0, not 1\); choose another"),
        ("num_train=300", r"\(num_train=250, not 300\)"),
        ("scenes_per_file=10", r"\(scenes_per_file=100, not 10\)"),
        ("data=multi_mnist_full", r"\(kind=multi_mnist, not multi_mnist_full\)"),
    ):
        with pytest.raises(DataError, match=f"^out: .*{message}"):
            made(tmp_path / "a", override)
    assert contents(tmp_path / "a") == before
    (tmp_path / "a" / "scenes.json").write_text("{")
    with pytest.raises(DataError, match=r"^out: .*scenes\.json: cannot be read"):
        made(tmp_path / "a")


def test_what_cannot_be_made_is_refused_before_there_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("air.data.drawing.MIN_DRAWN", 1000)  # objects: fail sooner
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    for out, overrides, error, message in (
        ("mine", [], DataError, r"^out: .*mine: must be a new or empty folder.*with photo\.png"),
        ("file", [], DataError, r"^out: .*file: must be a folder, got a file"),
        ("new", ["num_train=9000000000000"], DataError, r"^out: .*new: needs [\d.]+ GB of disk"),
        ("new", ["data.min_objects=5"], ConfigError, r"^data\.min_objects: must be at most"),
        ("new", ["data.max_objects=90"], DataError, r"^data\.max_objects=90 is too many"),
        ("new", ["data.kind=npz"], ConfigError, r"data\.kind: must be 'multi_mnist'"),
        ("new", ["num_test=0"], ConfigError, r"^num_test: must be greater than or equal to 1"),
        ("new", ["scenes_per_file=x"], ConfigError, r"^scenes_per_file: must be a valid integer"),
    ):
        with pytest.raises(error, match=message) as e:
            made(tmp_path / out, *overrides)
        assert "\n" not in str(e.value)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "file"}
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_a_folder_that_another_process_fills_is_refused(tmp_path):
    with held(tmp_path), pytest.raises(RunFolderError, match="another process"):
        made(tmp_path)


def run(tmp_path, script, *overrides):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / f"{script}.py"), *overrides],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_command_makes_a_folder_and_says_what_is_wrong(tmp_path, monkeypatch):
    result = run(tmp_path, "make_scenes", "out=scenes", "num_train=200", "num_test=50")
    assert result.returncode == 0, result.stderr
    assert "scenes is complete" in result.stdout
    assert json.loads((tmp_path / "scenes" / "scenes.json").read_text())["num_train"] == 200
    assert os.listdir(tmp_path) == ["scenes"]  # nothing of Hydra's own
    monkeypatch.chdir(tmp_path)
    result = run_script("make_scenes", "out=scenes", "num_train=300")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: out: scenes: holds scenes of other settings")
