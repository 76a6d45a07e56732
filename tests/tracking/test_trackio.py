"""Trackio, read back through its own interface.

In processes of their own: Trackio keeps one folder for all of a process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

import air
from air.runs.checkpoint import read_checkpoint, read_latest
from air.tracking.jsonl import read_metrics
from tests.helpers.checkpoints import best_of
from tests.helpers.wandb_reader import offline_runs, read_offline_run

READ = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps([
    {
        "name": run.name,
        "config": run.config,
        "logs": SQLiteStorage.get_logs("air", run.name, run_id=run.id),
        "alerts": SQLiteStorage.get_alerts("air", run.name, run_id=run.id),
    }
    for run in trackio.Api().runs("air")
]))
"""
FETCH = """
import sys, trackio
trackio.init("air", name="reader", embed=False, auto_log_cpu=False, auto_log_gpu=False)
artifact = trackio.use_artifact(sys.argv[1], type="model")
artifact.download(sys.argv[2])
trackio.finish()
"""


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("TRACKIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


def in_trackio(program, folder, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "TRACKIO_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def numbers(lines):
    """Return iterations and their numbers, without the times at which they were written."""
    return [
        {
            name: value
            for name, value in line.items()
            if isinstance(value, int | float) and not name.startswith("time")
        }
        for line in lines
    ]


def test_a_run_and_its_resumption_are_one_run_with_all_metrics_and_pictures(
    train_command, tmp_path
):
    run_dir, folder = tmp_path / "run", tmp_path / "outputs" / "trackio"
    overrides = [*train_command.smoke, "tracking=trackio", "train.num_pictures=2"]
    no_home = {"HOME": "/proc/nonexistent", "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    result = train_command(*overrides, f"hydra.run.dir={run_dir}", env=no_home)
    shown = "Trackio; show the run with: TRACKIO_DIR=outputs/trackio trackio show --project air"
    assert shown in result.stdout
    assert "* " not in result.stdout  # Trackio's own announcements
    assert result.stderr == ""
    train_command(f"resume={run_dir}", "train.num_iterations=40")

    (run,) = json.loads(in_trackio(READ, folder))
    name = (run_dir / "trackio_run_name").read_text().strip()
    assert run["name"] == name
    assert re.fullmatch(r"smoke-[0-9a-f]{4}", name)
    assert run["config"]["model"]["num_steps"] == 3
    written = read_metrics(run_dir / "metrics.jsonl")
    for line in written:
        line["step"] = line.pop("iteration")
    assert numbers(run["logs"]) == numbers(written)
    assert [line["step"] for line in run["logs"]] == [5, 10, 10, 15, 20, 20, 25, 30, 30, 35, 40, 40]
    last, expected = run["logs"][-1], written[-1]
    assert last["val/inferred_count"]["values"] == expected["val/inferred_count"]
    rows = last["val/confusion"]["_value"]
    assert [[row[f"inferred {n}"] for n in range(4)] for row in rows] == expected["val/confusion"]
    assert [row["true"] for row in rows] == ["0", "1", "2"]
    for i in range(2):
        picture = last[f"val/reconstructions/{i}"]
        assert re.fullmatch(r"found \d", picture["caption"])
        with Image.open(folder / "media" / picture["file_path"]) as image:
            assert image.size == (400, 200)  # an image of 50 pixels beside its reconstruction
    in_trackio(FETCH, folder, f"model-{name}:best", str(tmp_path / "fetched"))
    kept = read_checkpoint(tmp_path / "fetched" / "best.pt")
    assert kept.iteration == best_of(run_dir).iteration
    assert not (tmp_path / "home").exists()  # all is in the one folder
    assert air.load(run_dir, which="best").num_steps == 3
    assert read_latest(run_dir)[1].iteration == 40


@pytest.mark.slow
def test_the_environment_names_the_folder(train_command, tmp_path):
    mine = tmp_path / "mine"
    overrides = [*train_command.smoke, "train.num_pictures=0", "tracking=trackio"]
    result = train_command(
        "-m", *overrides, "seed=0,1", "train.num_iterations=2", env={"TRACKIO_DIR": str(mine)}
    )
    assert f"TRACKIO_DIR={mine} trackio show --project air" in result.stdout
    assert not (tmp_path / "outputs" / "trackio").exists()
    runs = json.loads(in_trackio(READ, mine))
    assert sorted(run["name"].rsplit("-", 1)[0] for run in runs) == ["smoke-0", "smoke-1"]
    (sweep,) = tmp_path.glob("outputs/sweeps/*/*")
    assert {run["config"]["_Group"] for run in runs} == {sweep.name}


BOTH = """
import sys
from pathlib import Path
import numpy as np
from air.tracking.config import TrackioConfig, WandbConfig
from air.tracking.values import Box, Picture
from air.tracking.trackers import Trackers
from air.tracking.trackio_tracker import TrackioTracker
from air.tracking.wandb_tracker import open_wandb
run_dir = Path(sys.argv[1])
here = TrackioConfig(kind="trackio", project="air", run_name="both", group=None,
                     folder=sys.argv[2])
there = WandbConfig(kind="wandb", mode="offline", project="air", entity=None, run_name="both",
                    group=None, job_type=None, tags=[], notes=None)
trackers = Trackers([open_wandb(there, run_dir, {"seed": 1}),
                     TrackioTracker(here, run_dir, {"seed": 1})])
picture = Picture(np.zeros((5, 5), np.uint8), "found 1", (Box(1, 1, 3, 3, 0),), 1)
trackers.log(7, {"train/loss": 2.5, "val/reconstructions": [picture]})
trackers.alert("a title", "a text")
trackers.finish(0)
"""


def test_wandb_and_trackio_work_side_by_side(tmp_path):
    folder = tmp_path / "trackio"
    assert in_trackio(BOTH, folder, str(tmp_path), str(folder)) == ""
    (run,) = json.loads(in_trackio(READ, folder))
    assert run["logs"][0]["train/loss"] == 2.5
    assert "val/reconstructions/0" in run["logs"][0]
    (alert,) = run["alerts"]
    assert (alert["title"], alert["text"]) == ("a title", "a text")
    assert (alert["level"], alert["step"]) == ("warn", 7)
    (kept,) = offline_runs(tmp_path)
    in_wandb = read_offline_run(kept)
    assert in_wandb.history[0]["train/loss"] == 2.5
    (alert,) = in_wandb.alerts
    assert (alert["title"], alert["text"], alert["level"]) == ("a title", "a text", "WARN")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("tracking.project=registry-a", "tracking.project: Trackio does not accept it: "),
        ("tracking.folder=", "tracking.folder: "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(train_command, tmp_path, wrong, message):
    result = train_command(*train_command.smoke, "tracking=trackio", wrong, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {message}"), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("outputs/runs/*/*"))
    assert not (tmp_path / "outputs" / "trackio").exists()


def test_a_second_folder_in_one_process_is_refused(tmp_path):
    program = """
import sys
from air.tracking.config import TrackioConfig
from air.errors import ConfigError
for folder in ("one", "one", "other"):
    try:
        TrackioConfig(kind="trackio", project="air", run_name="a", group=None,
                      folder=f"{sys.argv[1]}/{folder}").check()
    except ConfigError as error:
        print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRACKIO_DIR"}
    shown = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout
    assert shown == (
        f"tracking.folder: must be {tmp_path}/one, where earlier runs of this process are, "
        f"got {tmp_path}/other\n"
    )
