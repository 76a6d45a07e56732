"""The commands that finish what has not finished: a half-trained run goes on, a missing one starts.

Each job gets the folder that it has in its sweep, so that the sweep is whole afterwards.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from air.comparison.reading import Run
from air.run_folder import CONFIG_FILE

SCRIPT = "unfinished.sh"
_TRAIN = "python scripts/train.py"


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that neither finished nor still run; those that failed come last."""
    ended = [run for run in runs if run.status not in ("finished", "running")]
    return sorted(ended, key=lambda run: run.status == "failed")


def command(run: Run) -> str:
    """Return the command that finishes a run."""
    if (run.folder / CONFIG_FILE).exists():
        words = [_override("resume", str(run.folder))]
    else:
        words = [*run.overrides, _override("hydra.run.dir", str(run.folder)), *_tracked_as(run)]
    return " ".join([_TRAIN, *(shlex.quote(word) for word in words)])


def script(runs: Sequence[Run]) -> str:
    """Return a shell script with the commands of all unfinished runs, one a line."""
    lines = ["#!/bin/sh", "# From the repository's folder: finishes these runs, one after another."]
    for run in unfinished(runs):
        reason = f": {run.problem}" if run.problem else ""
        lines += [f"# {run.folder}: {run.status}{reason}", command(run)]
    return "\n".join(lines) + "\n"


def _override(key: str, value: str) -> str:
    """Return `key=value`, quoted where Hydra's grammar asks for it."""
    if re.fullmatch(r"[\w./+-]+", value):
        return f"{key}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def _tracked_as(run: Run) -> list[str]:
    """Return what a sweep gives its jobs: its own name as their group, and a name with a number."""
    if run.sweep is None or run.values is None:
        return []
    tracking, name, words = run.values["tracking"], run.values["name"], []
    if tracking.get("run_name") == name and run.folder.name.isdecimal():
        words.append(f"tracking.run_name={name}-{run.folder.name}")
    if "group" in tracking and tracking["group"] is None:
        words.append(_override("tracking.group", run.sweep.resolve().name))
    return words
