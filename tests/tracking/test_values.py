"""The parts of `air.tracking` that stand between the trainer and the trackers."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from air.tracking.config import NoTrackingConfig, WandbConfig
from air.tracking.jsonl import JSONLTracker, read_metrics
from air.tracking.tracker import NullTracker
from air.tracking.trackers import Trackers, build_tracker


class Recorder:
    def __init__(self, failing: tuple[str, ...] = (), error: type[BaseException] = OSError):
        self.calls: list[str] = []
        self._failing = failing
        self._error = error

    def _call(self, name):
        self.calls.append(name)
        if name in self._failing:
            raise self._error("no\nmore room")

    def log(self, iteration, values):
        self._call("log")

    def summarize(self, values):
        self._call("summarize")

    def keep_model(self, path, values):
        self._call("keep_model")

    def alert(self, title, text):
        self._call("alert")

    def finish(self, exit_code):
        self._call("finish")


def use(tracker):
    tracker.log(1, {"train/loss": 1.0})
    tracker.log(2, {"train/loss": 1.0})
    tracker.summarize({"iterations": 2})
    tracker.keep_model(Path("best.pt"), {"best/iteration": 1})
    tracker.alert("a title", "a text")
    tracker.finish(0)


def test_null_tracker_does_nothing():
    use(NullTracker())


def test_a_failing_tracker_is_reported_once_and_the_others_go_on(caplog):
    failing, working = Recorder(failing=("log", "finish")), Recorder()
    use(Trackers([failing, working]))
    assert working.calls == ["log", "log", "summarize", "keep_model", "alert", "finish"]
    assert failing.calls == ["log", "finish"]  # it may still hold a file
    assert [record.getMessage() for record in caplog.records] == [
        "Recorder failed and is left out from now on: OSError: no more room"
    ]


@pytest.mark.parametrize("name", ["summarize", "keep_model", "alert", "finish"])
def test_a_tracker_that_fails_late_does_not_stop_the_others(name, caplog):
    failing, working = Recorder(failing=(name,)), Recorder()
    use(Trackers([failing, working]))
    assert working.calls == ["log", "log", "summarize", "keep_model", "alert", "finish"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_interruptions_pass_through(interruption):
    trackers = Trackers([Recorder(failing=("log",), error=interruption)])
    with pytest.raises(interruption):
        trackers.log(1, {})


def disabled():
    return WandbConfig(
        kind="wandb",
        mode="disabled",
        project="air",
        entity=None,
        run_name=None,
        group=None,
        job_type=None,
        tags=[],
        notes=None,
    )


@pytest.mark.parametrize("config", [NoTrackingConfig(kind="none"), disabled()])
def test_without_a_service_only_metrics_are_written(config, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    use(build_tracker(config, tmp_path, {}, None))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert [line["iteration"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    assert not caplog.records


def test_a_resumed_run_goes_on_in_its_metrics(tmp_path):
    use(JSONLTracker(tmp_path / "metrics.jsonl"))
    tracker = build_tracker(NoTrackingConfig(kind="none"), tmp_path, {}, 1)
    tracker.log(3, {})
    tracker.finish(0)
    assert [line["iteration"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 3]


def test_wandb_is_not_imported_where_it_is_disabled(tmp_path):
    program = f"""
import sys
from pathlib import Path
from air.tracking.config import WandbConfig
from air.tracking.trackers import build_tracker
config = WandbConfig(kind="wandb", mode="disabled", project="air", entity=None, run_name=None,
                     group=None, job_type=None, tags=[], notes=None)
config.check()
build_tracker(config, Path({str(tmp_path)!r}), {{}}, None).finish(0)
sys.exit("wandb" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
