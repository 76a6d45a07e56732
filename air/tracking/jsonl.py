"""`metrics.jsonl`: every metric of a run, one JSON object a line."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from air.tracking.values import ConfusionMatrix, Histogram, Value


class JSONLTracker:
    """Appends a line for each call of `log`; pictures are left out.

    Args:
        path: the file. A last line that a crash tore is removed.
        keep_until: on resuming, the iteration to go on from: later lines are removed too, because
            they will be written again. None keeps them all.
    """

    def __init__(self, path: Path, keep_until: int | None = None) -> None:
        if path.exists():
            _cut(path, math.inf if keep_until is None else keep_until)
        self._file = path.open("a", encoding="utf-8")

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Write one line and flush it."""
        line = {"iteration": iteration, "time": time.time()}
        line |= {name: _plain(v) for name, v in values.items() if not isinstance(v, Sequence)}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Do nothing: the last lines hold it all."""

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Do nothing: the run's folder holds it."""

    def finish(self, exit_code: int) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file, without a last one that is being written or was torn."""
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _cut(path: Path, keep_until: float) -> None:
    kept = [line for line in _whole_lines(path) if json.loads(line)["iteration"] <= keep_until]
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, path)  # a crash leaves the old file or the new one, never a part


def _plain(value: float | int | ConfusionMatrix | Histogram) -> Any:
    if isinstance(value, (ConfusionMatrix, Histogram)):
        return value.counts.tolist()
    if not math.isfinite(value):
        return None  # JSON has no infinity and no nan
    return value
