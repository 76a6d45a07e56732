"""`metrics.jsonl`: every metric of a run, one JSON object a line."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from air.tracking.values import ConfusionMatrix, Value


class JSONLTracker:
    """Appends a line for each call of `log`; pictures are left out.

    Args:
        path: the file.
        keep_until: on resuming, the iteration to go on from: later lines, and a last line that a
            crash tore, are removed. None for a new run.
    """

    def __init__(self, path: Path, keep_until: int | None = None) -> None:
        if keep_until is not None and path.exists():
            _cut(path, keep_until)
        self._file = path.open("a", encoding="utf-8")

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Write one line and flush it."""
        figures = {name: _plain(value) for name, value in values.items() if _is_figure(value)}
        line = {"iteration": iteration, "time": time.time(), **figures}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Do nothing: the last lines hold it all."""

    def finish(self, exit_code: int) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file, without a last one that is being written or was torn."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _cut(path: Path, keep_until: int) -> None:
    kept = [line for line in read_metrics(path) if line["iteration"] <= keep_until]
    temporary = path.with_suffix(".partial")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)


def _is_figure(value: Value) -> bool:
    return isinstance(value, (int, float, ConfusionMatrix))


def _plain(value: Value) -> Any:
    if isinstance(value, ConfusionMatrix):
        return value.counts.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity and no nan
    return value
