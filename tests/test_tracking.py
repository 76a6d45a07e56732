"""Trackers: lines that survive a crash, W&B read back from disk, and no prompt ever."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading

import numpy as np
import pytest

from air.config import WandbConfig
from air.errors import ConfigError
from air.tracking import (
    Box,
    ConfusionMatrix,
    JSONLTracker,
    NullTracker,
    Picture,
    Progress,
    Trackers,
    build_tracker,
    read_metrics,
)
from air.tracking.wandb_tracker import key_is_configured, resolve_mode
from tests.offline_runs import offline_runs

CONFUSION = ConfusionMatrix(np.array([[5, 1], [0, 7]]))
PICTURE = Picture(np.zeros((6, 12), np.uint8), "found 1", (Box(1, 2, 3, 4.5, step=1),))


def wandb_config(**changes):
    values = {"mode": "offline", "project": "air", "entity": None, "run_name": "n", "group": None}
    values |= {"kind": "wandb", "job_type": "train", "tags": [], "notes": None}
    return WandbConfig(**{**values, **changes})


# --- metrics.jsonl ---------------------------------------------------------------------------------


def test_lines_hold_numbers_and_matrices(tmp_path):
    tracker = JSONLTracker(tmp_path / "metrics.jsonl")
    tracker.log(5, {"a": 1.5, "b": 2, "confusion": CONFUSION, "pictures": [PICTURE]})
    tracker.log(10, {"a": float("nan")})
    tracker.finish(0)
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert first.pop("time") > 0
    assert first == {"iteration": 5, "a": 1.5, "b": 2, "confusion": [[5, 1], [0, 7]]}
    assert second["a"] is None


def test_resuming_drops_what_came_after_and_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"iteration": i, "time": 0, "a": i}) for i in (1, 2, 3, 4)]
    path.write_text("\n".join(lines) + '\n{"iteration": 5, "ti')
    assert [line["a"] for line in read_metrics(path)] == [1, 2, 3, 4]
    tracker = JSONLTracker(path, keep_until=2)
    tracker.log(3, {"a": 33})
    tracker.finish(0)
    assert [line["a"] for line in read_metrics(path)] == [1, 2, 33]


# --- several trackers ------------------------------------------------------------------------------


def test_a_failing_tracker_is_left_out_and_said_once(caplog):
    class Failing(NullTracker):
        def log(self, iteration, values):
            raise RuntimeError("server on fire")

    seen = []

    class Recording(NullTracker):
        def log(self, iteration, values):
            seen.append((iteration, dict(values)))

    trackers = Trackers([Failing(), Recording()])
    for iteration in (1, 2):
        trackers.log(iteration, {"a": 0.5})
    trackers.summarize({"a": 1})
    trackers.finish(0)
    assert seen == [(1, {"a": 0.5}), (2, {"a": 0.5})]
    assert len(caplog.records) == 1
    assert "Failing failed" in caplog.text
    assert "server on fire" in caplog.text


# --- the mode of W&B -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "variable", "key", "expected"),
    [
        ("offline", "online", True, "offline"),
        ("online", "offline", True, "online"),
        ("disabled", None, True, "disabled"),
        ("auto", "offline", True, "offline"),
        ("auto", "online", True, "online"),
        ("auto", "disabled", True, "disabled"),
        ("auto", "", True, "online"),
        ("auto", None, True, "online"),
        ("auto", None, False, "offline"),
    ],
)
def test_mode(configured, variable, key, expected):
    environment = {} if variable is None else {"WANDB_MODE": variable}
    assert resolve_mode(configured, environment, lambda: key) == expected


def test_online_without_a_key_and_unknown_modes_are_refused():
    with pytest.raises(ConfigError, match=r"tracking\.mode: online needs an API key.*wandb login"):
        resolve_mode("online", {}, lambda: False)
    with pytest.raises(ConfigError, match="WANDB_MODE: online needs an API key"):
        resolve_mode("auto", {"WANDB_MODE": "online"}, lambda: False)
    with pytest.raises(ConfigError, match="WANDB_MODE: must be one of .* got 'dryrum'"):
        resolve_mode("auto", {"WANDB_MODE": "dryrum"}, lambda: True)


def key_seen_by_another_process(**environment):
    code = "from air.tracking.wandb_tracker import key_is_configured; print(key_is_configured())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip() == "True"


def test_a_key_is_found_in_the_environment_and_in_netrc(tmp_path):
    assert not key_seen_by_another_process()
    assert key_seen_by_another_process(WANDB_API_KEY="a" * 40)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.wandb.ai login user password {'b' * 40}\n")
    netrc.chmod(0o600)
    assert key_seen_by_another_process(NETRC=str(netrc))


def test_no_prompt_even_on_a_terminal(tmp_path):
    code = (
        "from pathlib import Path; from tests.test_tracking import wandb_config;"
        "from air.tracking import build_tracker;"
        f"t = build_tracker(wandb_config(mode='auto'), Path({str(tmp_path)!r}), {{}}, None);"
        "t.log(1, {'a': 1.0}); t.finish(0); print('done')"
    )
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=secondary, stdout=secondary, stderr=secondary
    )
    os.close(secondary)
    said = []

    def listen():
        try:
            while chunk := os.read(primary, 4096):
                said.append(chunk)
        except OSError:
            pass  # the other end is closed

    listener = threading.Thread(target=listen)
    listener.start()
    assert process.wait(timeout=60) == 0, b"".join(said)
    listener.join(timeout=10)
    os.close(primary)
    assert b"done" in b"".join(said)
    assert len(offline_runs(tmp_path)) == 1
    assert not key_is_configured()


# --- W&B read back ---------------------------------------------------------------------------------


def test_two_runs_in_one_process_are_two_offline_runs(tmp_path):
    for i in range(2):
        folder = tmp_path / str(i)
        folder.mkdir()
        config = wandb_config(run_name=f"job-{i}", group="sweep", tags=["a", "b"])
        tracker = build_tracker(config, folder, {"seed": i, "model": {"num_steps": 3}}, None)
        tracker.log(10, {"train/loss": 1.5 + i})
        tracker.log(20, {"val/confusion": CONFUSION, "val/reconstructions": [PICTURE, PICTURE]})
        tracker.summarize({"val/count_accuracy": 0.9 + i / 100})
        tracker.finish(i)
    runs = offline_runs(tmp_path)
    assert len({run.run["run_id"] for run in runs}) == 2
    for i, run in enumerate(runs):
        assert run.run["project"] == "air"
        assert run.run["display_name"] == f"job-{i}"
        assert run.run["run_group"] == "sweep"
        assert run.run["job_type"] == "train"
        assert run.run["tags"] == ["a", "b"]
        assert run.config["seed"] == i
        assert run.config["model"] == {"num_steps": 3}
        assert run.history[0]["iteration"] == 10
        assert run.history[0]["train/loss"] == 1.5 + i
        assert run.history[1]["iteration"] == 20
        assert run.summary["val/count_accuracy"] == 0.9 + i / 100
        assert run.exit_code == i
        media = tmp_path / str(i)
        images = [f for f in run.files if f.endswith(".png")]
        assert len(images) == 2
        (table,) = media.rglob("*.table.json")
        assert json.loads(table.read_text())["data"] == [["0", 5, 1], ["1", 0, 7]]
        boxes = json.loads(next(media.rglob("*.boxes2D.json")).read_text())["box_data"]
        assert boxes[0]["class_id"] == 1
        assert boxes[0]["position"] == {"minX": 1, "minY": 2, "maxX": 3, "maxY": 4.5}


def test_resuming_keeps_the_run_id(tmp_path):
    for iteration in (None, 10):
        tracker = build_tracker(wandb_config(), tmp_path, {}, iteration)
        tracker.log(10 if iteration is None else 20, {"a": 1.0})
        tracker.finish(0)
    ids = {path.stem for path in tmp_path.rglob("*.wandb")}
    assert len(ids) == 1
    assert [line["iteration"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [10, 20]


def test_disabled_does_not_even_import_wandb(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.test_tracking import wandb_config;"
        "from air.tracking import build_tracker;"
        f"build_tracker(wandb_config(mode='disabled'), Path({str(tmp_path)!r}), {{}}, None);"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the console -----------------------------------------------------------------------------------


def test_plain_lines_where_there_is_no_terminal(caplog):
    caplog.set_level(logging.INFO)
    with Progress(100, initial=20) as progress:
        progress.advance(30)
        progress.show(30, loss=-12.345)
        progress.show(40, count_accuracy=0.5)
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("iteration 30/100: loss -12.35, ")
    assert "loss -12.35, count_accuracy 0.5, " in caplog.messages[1]
    assert caplog.messages[1].endswith("left")


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(10) as progress:
        for iteration in range(1, 11):
            progress.advance(iteration)
        progress.show(10, loss=1.0, count_accuracy=0.5)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "loss 1, count_accuracy 0.5" in shown
