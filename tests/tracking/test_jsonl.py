"""`metrics.jsonl`."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from air.errors import WriteError
from air.tracking.jsonl import JSONLTracker, read_metrics
from air.tracking.values import ConfusionMatrix, Histogram, Picture


def write(path, iterations, keep_until=None):
    tracker = JSONLTracker(path, keep_until)
    for iteration in iterations:
        tracker.log(iteration, {"train/loss": float(iteration)})
    tracker.finish(0)


def iterations(path):
    return [line["iteration"] for line in read_metrics(path)]


def test_round_trip(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tracker = JSONLTracker(path)
    before = time.time()
    tracker.log(
        7,
        {
            "train/loss": 0.1 + 0.2,
            "val/count": 3,
            "val/confusion": ConfusionMatrix(np.array([[5, 0], [1, 2], [0, 1]])),
            "val/inferred_count": Histogram(np.array([1, 0, 4])),
            "val/reconstructions": [Picture(np.zeros((4, 4), np.uint8))],
        },
    )
    (line,) = read_metrics(path)  # flushed, though the file is still open
    tracker.finish(0)
    assert before <= line.pop("time") <= time.time()
    assert line == {
        "iteration": 7,
        "train/loss": 0.1 + 0.2,
        "val/count": 3,
        "val/confusion": [[5, 0], [1, 2], [0, 1]],
        "val/inferred_count": [1, 0, 4],
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_non_finite_numbers_become_null(tmp_path, value):
    path = tmp_path / "metrics.jsonl"
    tracker = JSONLTracker(path)
    tracker.log(1, {"train/loss": value})
    tracker.finish(0)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(path.read_text(), parse_constant=refuse)["train/loss"] is None


def test_a_torn_last_line_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [1, 2])
    for torn in ('{"iteration": 3, "tra', '{"iteration": 3}', "{"):
        path.write_text(path.read_text() + torn)
        assert iterations(path) == [1, 2]
        path.write_text(path.read_text().removesuffix(torn))


@pytest.mark.parametrize("keep_until", [None, 5])
def test_a_torn_last_line_does_not_swallow_the_next(tmp_path, keep_until):
    path = tmp_path / "metrics.jsonl"
    write(path, [1, 2])
    path.write_text(path.read_text() + '{"iteration": 3, "tra')
    write(path, [6], keep_until)
    assert iterations(path) == [1, 2, 6]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_resuming_removes_what_will_be_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [10, 20, 30, 40])
    first_two = path.read_text().splitlines()[:2]
    write(path, [30], keep_until=20)
    assert iterations(path) == [10, 20, 30]
    assert path.read_text().splitlines()[:2] == first_two
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_resuming_before_the_first_checkpoint_starts_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [10])
    write(path, [10], keep_until=0)
    assert iterations(path) == [10]


def test_resuming_without_a_file_makes_one(tmp_path):
    write(tmp_path / "metrics.jsonl", [30], keep_until=20)
    assert iterations(tmp_path / "metrics.jsonl") == [30]


def test_a_failed_cut_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    write(path, [10, 20])
    before = path.read_text()

    def fail(*paths):
        raise OSError("no")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(WriteError, match=r"metrics\.jsonl: cannot be written: no"):
        JSONLTracker(path, 10)
    assert path.read_text() == before
