"""How a run ended, in one file of its folder that sweeps and comparisons read.

result.json    {"status": …, "iteration": …, "metric": …, "summary": {…}, "error": …,
                "collapsed": …}
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from air.errors import AIRError
from air.runs.files import write_whole

RESULT_FILE = "result.json"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RunResult:
    """How a run ended; a run without one is still in progress, or was killed.

    Attributes:
        status: finished; stopped by a signal, to be resumed; or failed.
        iteration: optimiser steps taken.
        metric: held-out count accuracy or, without truth, the ELBO; None unless finished.
        summary: all that was measured at the end, by the trackers' names.
        error: what went wrong, in one line; None unless failed.
        collapsed: which counts have collapsed, in one line; None unless finished like that.
    """

    status: Literal["finished", "stopped", "failed"]
    iteration: int
    metric: float | None
    summary: dict[str, float | int | str]
    error: str | None
    collapsed: str | None


def failure(error: BaseException, iteration: int) -> RunResult:
    """Return how a run ended that an error ended."""
    text = " ".join(str(error).split())
    line = text if isinstance(error, AIRError) else f"{type(error).__name__}: {text}"
    return RunResult("failed", iteration, None, {}, line, None)


def write_result(run_dir: Path, result: RunResult) -> None:
    """Write how a run ended, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    write_whole(run_dir / RESULT_FILE, (json.dumps(asdict(result), indent=1) + "\n").encode())


def discard_result(run_dir: Path) -> None:
    """Forget how a run ended, because it is resumed."""
    (run_dir / RESULT_FILE).unlink(missing_ok=True)


def read_result(run_dir: Path) -> RunResult | None:
    """Return how a run ended, or None if it has not, or the file is damaged."""
    try:
        return TypeAdapter(RunResult).validate_json((run_dir / RESULT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
