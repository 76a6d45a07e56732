"""`metrics.jsonl`: every metric of a run, one JSON object a line."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from air.runs.files import naming, write_whole
from air.tracking.values import ConfusionMatrix, Histogram, Value


class JSONLTracker:
    """Appends a line for each call of `log`; pictures are left out.

    Args:
        path: the file. A last line that a crash tore is removed.
        keep_until: the iteration from which a run resumes: later lines are removed too, because
            they will be written again. None keeps them all.
        evaluates_again: whether the run resumes with the evaluation at `keep_until`; the line of an
            earlier one is removed then.

    Raises:
        WriteError: the file cannot be written.
    """

    def __init__(
        self, path: Path, keep_until: int | None = None, evaluates_again: bool = False
    ) -> None:
        self._path = path
        if path.exists():
            _cut(path, math.inf if keep_until is None else keep_until, evaluates_again)
        with naming(path):
            self._file = path.open("ab", buffering=0)

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Write one line, whole or not at all.

        Raises:
            WriteError: it cannot be written.
        """
        line = {"iteration": iteration, "time": time.time()}
        line |= {name: _plain(v) for name, v in values.items() if not isinstance(v, Sequence)}
        content = (json.dumps(line, allow_nan=False) + "\n").encode()
        before = self._file.tell()
        with naming(self._path):
            try:
                while content:  # a disk that is nearly full takes a part, and then refuses
                    content = content[self._file.write(content) :]
            except OSError:
                self._file.truncate(before)
                raise

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Do nothing: the last lines hold it all."""

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Do nothing: the run's folder holds it."""

    def alert(self, title: str, text: str) -> None:
        """Do nothing: the run's log holds it."""

    def finish(self, exit_code: int) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file, without a last one that is being written or was torn."""
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _cut(path: Path, keep_until: float, evaluates_again: bool) -> None:
    kept = []
    for text in _whole_lines(path):
        line = json.loads(text)
        is_evaluation = any(name.startswith("val/") for name in line)
        at_end = line["iteration"] == keep_until
        if line["iteration"] <= keep_until and not (evaluates_again and at_end and is_evaluation):
            kept.append(text)
    write_whole(path, "".join(kept).encode())


def _plain(value: float | int | ConfusionMatrix | Histogram) -> Any:
    if isinstance(value, (ConfusionMatrix, Histogram)):
        return value.counts.tolist()
    if not math.isfinite(value):
        return None  # JSON has no infinity and no nan
    return value
