"""`scripts/visualize.py` and `scripts/sample.py` on a small run."""

import shutil

import numpy as np
import pytest

from tests.helpers.in_process import run_script
from tests.helpers.options import values_of


@pytest.fixture
def run(smoke_run, tmp_path):
    folder = shutil.copytree(smoke_run, tmp_path / "run")
    shutil.rmtree(folder / "pictures")
    return folder


def test_every_picture_is_written_in_both_formats(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_script("visualize", f"run={run}", "num_images=60", "num_scenes=3")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"run"}  # nothing of Hydra's own
    written = {path.name for path in (run / "pictures").iterdir()}
    always = {"reconstructions", "windows", "build_up", "confusion", "training_curves"}
    always |= {"window_places", "prior_samples", "mistakes", "segmentation"}
    for name in always:
        assert {f"{name}.png", f"{name}.pdf"} <= written
    assert "build_up.gif" in written


def test_what_cannot_be_drawn_is_said(run, tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.zeros((10, 50, 50), np.uint8))
    result = run_script(
        "visualize",
        f"run={run}",
        "data=npz",
        f"data.path={tmp_path / 'mine.npz'}",
        "data.test_fraction=0.5",
        "pictures=[confusion,mistakes,reconstructions]",
        f"output={tmp_path / 'drawn'}",
        "formats=[pdf]",
    )
    assert result.returncode == 0, result.stderr
    for name in ("confusion", "mistakes"):
        assert f"{name}: not drawn: the data has no counts" in result.stdout + result.stderr
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["reconstructions.pdf"]
    assert not (run / "pictures").exists()


def test_samples_are_images_that_training_can_read(run, tmp_path):
    from air.data.config import NpzConfig
    from air.data.npz import load_npz

    result = run_script("sample", f"run={run}", "counts=[0,4]", "num_scenes=3", "arrays=true")
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (run / "pictures").iterdir()}
    assert names == {"samples.png", "samples.pdf", "samples.npz"}
    path = str(run / "pictures" / "samples.npz")
    data = load_npz(NpzConfig(kind="npz", path=path, test_path=path, test_fraction=0.5, seed=0))
    assert data.test.count.tolist() == [0, 0, 0, 4, 4, 4]
    assert not data.test.images[:3].any()
    assert data.test.images[3:].flatten(1).any(-1).all()


@pytest.mark.parametrize(
    ("script", "overrides", "message"),
    [
        ("visualize", ["run=nowhere"], "error: run: must be a run's folder"),
        ("visualize", ["run={run}", "pictures=[window]"], "pictures.0: must be 'reconstruct"),
        ("visualize", ["run={run}", "formats=[jpg]"], "formats.0: must be 'png' or 'pdf'"),
        ("visualize", ["run={run}", "output={run}/train.log"], "output: must be a folder"),
        ("visualize", ["run={run}", "num_step=3"], "num_step: no such key; did you mean num_ste"),
        ("sample", ["run=nowhere"], "error: run: must be a run's folder"),
        ("sample", ["run={run}", "counts=[-1]"], "counts.0: must be greater than or equal to 0"),
        ("sample", ["run={run}", "counts=[]"], "counts: "),
    ],
)
def test_bad_input_is_one_line(run, script, overrides, message):
    result = run_script(script, *(override.format(run=run) for override in overrides))
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not (run / "pictures").exists()


def test_every_picture_that_is_known_is_drawn_by_default():
    from typing import get_args

    from air.pictures.config import PictureName

    assert set(values_of("visualize")["pictures"]) == set(get_args(PictureName))
