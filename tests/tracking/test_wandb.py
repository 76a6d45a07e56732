"""Weights & Biases, offline: what it would be told, and that it never asks."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wandb
from PIL import Image

from air.cli.compose import compose_config
from air.errors import ConfigError
from air.fields import config_values
from air.tracking import wandb_tracker
from air.tracking.config import WandbConfig
from air.tracking.trackers import build_tracker
from air.tracking.values import Box, ConfusionMatrix, Histogram, Picture
from tests.helpers.wandb_reader import offline_runs, read_offline_run

KEY = "0123456789" * 4
UNREACHABLE = "http://127.0.0.1:9"  # the port of the discard service, which nobody runs


pytestmark = pytest.mark.usefixtures("wandb_home")


def wandb_config(**changes):
    values = {
        "kind": "wandb",
        "mode": "offline",
        "project": "air",
        "entity": None,
        "run_name": "first",
        "group": "a sweep",
        "job_type": "train",
        "tags": ["quick", "test"],
        "notes": "a note",
    }
    return WandbConfig(**(values | changes))


def own_messages(caplog):
    """What our tracker logs; W&B's own log goes to a file in its folder, but pytest sees it too."""
    return [r.getMessage() for r in caplog.records if r.name == wandb_tracker.__name__]


def new_folder(path):
    path.mkdir()
    return path


# --- what cannot start ---------------------------------------------------------------------------


def test_online_without_a_key_asks_nothing_even_on_a_terminal(tmp_path):
    program = """
from air.tracking.config import WandbConfig
from air.cli.compose import compose_config
from air.errors import ConfigError
try:
    WandbConfig(kind="wandb", mode="online", project="air", entity=None, run_name=None,
                group=None, job_type=None, tags=[], notes=None).check()
except ConfigError as error:
    print(error)
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path
    )
    os.close(theirs)
    assert process.wait(timeout=30) == 0  # at a prompt it would wait for ever
    shown = os.read(ours, 65536).decode().splitlines()
    os.close(ours)
    assert len(shown) == 1
    assert shown[0].startswith("tracking.mode: online needs an API key")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"project": "a/b"}, "Invalid project name 'a/b'"),
        ({"tags": ["x" * 65]}, "Tags must be between 1 and 64 characters"),
    ],
)
def test_what_wandb_would_refuse_is_found_before_anything_is_written(tmp_path, change, complaint):
    folder = new_folder(tmp_path / "run")
    for attempt in (
        lambda: wandb_config(**change).check(),
        lambda: build_tracker(wandb_config(**change), folder, {}, None),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not list(folder.iterdir())


# --- what a run holds ----------------------------------------------------------------------------


def test_two_runs_in_one_process(tmp_path, capfd, caplog):
    caplog.set_level(logging.INFO)
    image = np.arange(20 * 40, dtype=np.uint8).reshape(20, 40)
    segmentation = image % 4
    boxes = (Box(1.5, 2.0, 8.0, 9.5, step=0), Box(-3.0, 4.0, 25.0, 12.0, step=1))
    for name, elbo in (("first", -100.0), ("second", -50.0)):
        resolved = {"seed": 3, "model": {"num_steps": 3}, "name": name, "resume": None}
        run_dir = new_folder(tmp_path / name)
        tracker = build_tracker(wandb_config(run_name=name), run_dir, resolved, None)
        tracker.log(50, {"train/elbo": elbo, "optim/lr": 1e-3})
        tracker.log(
            100,
            {
                "val/count_accuracy": 0.75,
                "val/confusion": ConfusionMatrix(np.array([[5, 0, 1], [1, 2, 0]])),
                "val/inferred_count": Histogram(np.array([3, 4, 0, 2])),
                "val/reconstructions": [
                    Picture(image, "found 2", boxes, 3, segmentation),
                    Picture(image, "found 0", (), 3),
                    Picture(image),
                ],
            },
        )
        tracker.summarize({"iterations": 100, "best/elbo": elbo})
        tracker.finish(0 if name == "first" else 1)
    assert wandb.run is None

    ids = set()
    for name, elbo in (("first", -100.0), ("second", -50.0)):
        (folder,) = offline_runs(tmp_path / name)
        run = read_offline_run(folder)
        ids.add(run.id)
        assert (tmp_path / name / "wandb_run_id").read_text().strip() == run.id
        assert (run.name, run.project, run.group) == (name, "air", "a sweep")
        assert (run.job_type, run.notes, run.tags) == ("train", "a note", ["quick", "test"])
        assert run.config == {
            "seed": 3,
            "model": {"num_steps": 3},
            "name": name,
            "resume": None,
        }
        assert run.step_metrics == {"iteration": "", "*": "iteration"}
        first, second = run.history
        assert (first["iteration"], first["train/elbo"], first["optim/lr"]) == (50, elbo, 1e-3)
        assert (second["iteration"], second["val/count_accuracy"]) == (100, 0.75)
        assert run.summary["best/elbo"] == elbo
        assert run.summary["iterations"] == 100
        assert run.exit_code == (0 if name == "first" else 1)

        files = folder / "files"
        table = json.loads((files / second["val/confusion.path"]).read_text())
        assert table["columns"] == ["true \\ inferred", "0", "1", "2"]
        assert table["data"] == [["0", 5, 0, 1], ["1", 1, 2, 0]]
        chart = json.loads((files / second["val/confusion_chart_table.path"]).read_text())
        assert chart["columns"] == ["Actual", "Predicted", "nPredictions"]
        cells = {(true, inferred): count for true, inferred, count in chart["data"]}
        assert cells == {
            (str(true), str(inferred)): count
            for true, row in enumerate([[5, 0, 1], [1, 2, 0]])
            for inferred, count in enumerate(row)
        }
        assert second["val/inferred_count._type"] == "histogram"
        assert second["val/inferred_count.values"] == [3, 4, 0, 2]
        assert second["val/inferred_count.bins"] == [-0.5, 0.5, 1.5, 2.5, 3.5]
        assert second["val/reconstructions.captions"] == ["found 2", "found 0", None]
        pictures = second["val/reconstructions.filenames"]
        assert len(pictures) == 3
        assert all((files / picture).is_file() and picture in run.files for picture in pictures)
        overlays = second["val/reconstructions.all_boxes"]
        kept, empty = (
            json.loads((files / overlays[i]["windows"]["path"]).read_text()) for i in (0, 1)
        )
        steps = {"1": "step 1", "2": "step 2", "3": "step 3"}  # of all steps, in each picture
        assert kept["class_labels"] == empty["class_labels"] == steps
        assert empty["box_data"] == []
        assert [box["class_id"] for box in kept["box_data"]] == [1, 2]
        assert {box["domain"] for box in kept["box_data"]} == {"pixel"}
        assert kept["box_data"][0]["position"] == {
            "minX": 1.5,
            "minY": 2.0,
            "maxX": 8.0,
            "maxY": 9.5,
        }

        masks = second["val/reconstructions.all_masks"]
        assert [bool(mask) for mask in masks] == [True, False, False]
        with Image.open(files / masks[0]["segmentation"]["path"]) as mask:
            np.testing.assert_array_equal(np.asarray(mask), segmentation)

        said = [m for m in own_messages(caplog) if str(folder) in m]
        assert said == [f"W&B offline; send the run with: wandb sync {folder}"]
    assert len(ids) == 2
    assert capfd.readouterr() == ("", "")  # W&B's own messages are off


def test_pixels_are_kept(tmp_path):
    grey = np.array([[0, 1], [1, 0]], np.uint8)  # must not be taken for a picture in [0, 1]
    colour = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    folder = new_folder(tmp_path / "run")
    tracker = build_tracker(wandb_config(), folder, {}, None)
    tracker.log(1, {"val/reconstructions": [Picture(grey)], "val/colour": [Picture(colour)]})
    tracker.finish(0)
    (kept,) = offline_runs(folder)
    (item,) = read_offline_run(kept).history
    for key, image in (("val/reconstructions", grey), ("val/colour", colour)):
        with Image.open(kept / "files" / item[f"{key}.filenames"][0]) as saved:
            np.testing.assert_array_equal(np.asarray(saved), image)


def test_runs_are_ranked_by_the_best_of_each_also_while_they_run(tmp_path):
    folder = new_folder(tmp_path / "run")
    tracker = build_tracker(wandb_config(), folder, {}, None)
    for iteration, best, elbo in ((10, 0.5, 100.0), (20, 0.9, 300.0), (30, 0.9, 200.0)):
        tracker.log(iteration, {"best/count_accuracy": best, "val/elbo": elbo})
    tracker.finish(1)  # it has not come to an end, and so has not been summarised
    summary = read_offline_run(offline_runs(folder)[0]).summary
    assert (summary["best/count_accuracy"], summary["val/elbo"]) == (0.9, 200.0)


def test_the_best_checkpoint_is_an_artifact_that_later_checkpoints_do_not_change(tmp_path):
    folder = new_folder(tmp_path / "run")
    best = folder / "best.pt"
    best.write_bytes(b"the first")
    tracker = build_tracker(wandb_config(), folder, {}, None)
    tracker.keep_model(best, {"best/count_accuracy": 0.9, "best/iteration": 10})
    tracker.finish(0)
    (folder / "new.pt").write_bytes(b"the second")
    (folder / "new.pt").replace(best)  # as checkpoints are written
    run = read_offline_run(offline_runs(folder)[0])
    (artifact,) = run.artifacts
    assert (artifact["name"], artifact["type"]) == (f"model-{run.id}", "model")
    assert sorted(artifact["aliases"]) == ["best", "latest"]
    assert json.loads(artifact["metadata"]) == {"best/count_accuracy": 0.9, "best/iteration": 10}
    (file,) = artifact["manifest"]["contents"]
    assert file["path"] == "best.pt"
    kept = Path(file["local_path"])
    assert kept.is_relative_to(folder / "wandb")
    assert kept.read_bytes() == b"the first"


@pytest.mark.parametrize("in_a_sweep", [False, True])
def test_a_resumed_run_keeps_its_id(tmp_path, monkeypatch, in_a_sweep):
    """Which a sweep of W&B gives it when it starts; resumed by hand, it is in no sweep."""
    folder = new_folder(tmp_path / "run")
    if in_a_sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    for iteration in (10, 20):
        monkeypatch.setenv("WANDB_RUN_ID", f"r{iteration}")
        tracker = build_tracker(wandb_config(), folder, {}, iteration - 10)
        tracker.log(iteration, {"train/loss": 1.0})
        tracker.finish(0)
        for kept in offline_runs(folder):  # W&B names folders by the second: make room
            if "-done" not in kept.name:
                kept.rename(kept.with_name(f"{kept.name}-done{iteration}"))
        monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    runs = [read_offline_run(kept) for kept in offline_runs(folder)]
    (id_,) = {run.id for run in runs}
    assert id_ == "r10" if in_a_sweep else id_ not in ("r10", "r20")
    assert all(run.resumes for run in runs)  # so `wandb sync` appends the later to the earlier
    assert sorted(run.history[0]["iteration"] for run in runs) == [10, 20]


def configured(*overrides):
    return compose_config(("tracking=wandb", "tracking.mode=offline", *overrides)).tracking


NAMED = {  # the variable, what it says, and the configuration without it and with it
    "project": ("WANDB_PROJECT", "a project", "air", "a project"),
    "entity": ("WANDB_ENTITY", "a-team", None, "a-team"),
    "run_name": ("WANDB_NAME", "a name", "quickstart", "a name"),
    "group": ("WANDB_RUN_GROUP", "a group", None, "a group"),
    "job_type": ("WANDB_JOB_TYPE", "a job", "train", "a job"),
    "tags": ("WANDB_TAGS", "one, two", [], ["one", "two"]),
    "notes": ("WANDB_NOTES", "a note, and ${more}: 'of' it", None, "a note, and ${more}: 'of' it"),
}


def test_the_environment_is_heeded_where_the_configuration_leaves_its_default(monkeypatch):
    usual = {key: default for key, (_, _, default, _) in NAMED.items()}
    assert usual.items() <= config_values(configured()).items()
    for name, *_ in NAMED.values():
        monkeypatch.setenv(name, "")
    assert usual.items() <= config_values(configured()).items()
    for name, text, *_ in NAMED.values():
        monkeypatch.setenv(name, text)
    expected = {key: value for key, (*_, value) in NAMED.items()}
    assert expected.items() <= config_values(configured()).items()
    typed = usual | {"project": "b", "run_name": "b", "job_type": "b", "tags": ["b"]}
    overrides = [f"tracking.{key}={json.dumps(value)}" for key, value in typed.items()]
    assert typed.items() <= config_values(configured(*overrides)).items()


@pytest.mark.parametrize("in_a_sweep", [False, True])
def test_a_run_is_named_as_it_is_recorded_but_in_a_sweep_of_wandb(
    tmp_path, monkeypatch, in_a_sweep
):
    recorded = configured()
    with monkeypatch.context() as patch:
        for name, text, *_ in NAMED.values():
            patch.setenv(name, text)
        if in_a_sweep:
            patch.setenv("WANDB_SWEEP_ID", "s1")
            patch.setenv("WANDB_RUN_ID", "r1")
        folder = new_folder(tmp_path / "run")
        build_tracker(recorded, folder, {}, None).finish(0)
    run = read_offline_run(offline_runs(folder)[0])
    place = ("a project", "a-team") if in_a_sweep else ("air", "")
    assert (run.project, run.entity) == place
    assert (run.name, run.group, run.job_type) == ("quickstart", "", "train")
    assert (run.tags, run.notes) == ([], "")


# --- where it is kept ----------------------------------------------------------------------------


def log_all(folder):
    """Log all that W&B makes files of."""
    new_folder(folder)
    best = folder / "best.pt"
    best.write_bytes(b"the best")
    tracker = build_tracker(wandb_config(), folder, {}, None)
    for iteration in range(3):
        tracker.log(iteration, {"val/confusion": ConfusionMatrix(np.eye(3, dtype=int))})
        tracker.log(iteration, {"val/reconstructions": [Picture(np.zeros((4, 4), np.uint8))]})
        tracker.keep_model(best, {"best/iteration": iteration})
    tracker.finish(0)


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_whole(kept):
    """Check that nothing of `log_all` is lost, and return the files that are to be sent."""
    run = read_offline_run(kept)
    assert [row["iteration"] for row in run.history] == [0, 0, 1, 1, 2, 2]
    assert len([each for each in run.artifacts if each["type"] == "model"]) == 3
    assert run.exit_code == 0
    return [
        Path(file["local_path"])
        for artifact in run.artifacts
        for file in artifact["manifest"]["contents"]
    ]


@pytest.mark.parametrize(
    ("home", "jobs"), [(None, ["first"]), ("/proc/nonexistent", ["first", "second"])]
)
def test_all_of_a_run_is_below_its_folder(tmp_path, monkeypatch, caplog, capfd, home, jobs):
    if home:
        monkeypatch.setenv("HOME", home)
    variables = dict(os.environ)
    for name in jobs:  # of a sweep, in one process
        folder = tmp_path / name
        log_all(folder)
        (kept,) = offline_runs(folder)
        assert all(path.is_relative_to(folder) and path.exists() for path in assert_whole(kept))
        assert list((folder / "wandb").rglob("core-debug-*.log"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr() == ("", "")
    assert files_of(tmp_path / "home") == []
    assert os.environ == variables


def test_what_the_user_chose_for_wandb_comes_first(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    log_all(tmp_path / "run")
    (kept,) = offline_runs(tmp_path / "WANDB_DIR")
    assert own_messages(caplog) == [f"W&B offline; send the run with: wandb sync {kept}"]
    for path in assert_whole(kept):
        parent = "WANDB_DIR" if path.name == "best.pt" else "WANDB_DATA_DIR"
        assert path.is_relative_to(tmp_path / parent)
    assert files_of(tmp_path / "WANDB_CACHE_DIR")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"best.pt", "metrics.jsonl", "wandb_run_id"}


def test_a_folder_for_wandb_that_cannot_be_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file" / "folder"))
    with pytest.raises(ConfigError, match=r"^WANDB_DIR: must be a folder .*, got '.*/folder'$"):
        wandb_config().check()


def test_an_unreachable_server_is_said_and_the_runs_kept_offline(
    tmp_path, monkeypatch, caplog, capfd
):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", UNREACHABLE)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    for name in ("first", "second"):
        caplog.clear()
        folder = new_folder(tmp_path / name)
        tracker = build_tracker(wandb_config(mode="online"), folder, {}, None)
        tracker.log(1, {"train/loss": 1.0})
        tracker.finish(0)
        warning, note = own_messages(caplog)
        assert warning.startswith("W&B cannot be reached; this run is kept offline: ")
        assert "\n" not in warning
        (kept,) = offline_runs(folder)
        assert note.endswith(f"wandb sync {kept}")
        assert read_offline_run(kept).history[0]["train/loss"] == 1.0
    assert capfd.readouterr() == ("", "")


def test_a_server_that_stops_answering_does_not_hold_the_end_of_a_run(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    folder = new_folder(tmp_path / "run")
    tracker = build_tracker(wandb_config(), folder, {}, None)
    finish = wandb.Run.finish

    def late(run, exit_code):
        finish(run, exit_code)
        raise TimeoutError

    monkeypatch.setattr(wandb.Run, "finish", late)
    tracker.finish(0)
    assert f"wandb sync {offline_runs(folder)[0]} --include-online" in own_messages(caplog)[-1]
