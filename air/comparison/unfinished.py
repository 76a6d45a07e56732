"""The commands that finish what has not finished, and nothing else.

A sweep that is started again in its folder leaves its finished jobs alone, resumes those that are
half trained and starts those that are missing. A single run is resumed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from air.cli.jobs import sweep_overrides
from air.comparison.reading import Run
from air.config.quoting import literal_override
from air.errors import RunFolderError
from air.runs.folder import CONFIG_FILE
from air.runs.lock import is_held

_TRAIN = ("python", "scripts/train.py")


def commands(runs: Sequence[Run]) -> list[str]:
    """Return a command for each sweep, and for each single run, that has not finished.

    Args:
        runs: finished ones need nothing, and what still runs is left to itself.
    """
    ended = [run for run in runs if run.status not in ("finished", "running", "waiting")]
    again: dict[Path, str] = {}
    single = []
    for run in ended:
        if run.sweep is None or not _start_again(run.sweep, again):
            single.append(_resume(run))
    return [*again.values(), *single]


def _start_again(sweep: Path, again: dict[Path, str]) -> bool:
    """Add the command that starts a sweep again, if its own record tells it."""
    if sweep not in again and not is_held(sweep):
        try:
            words = [
                *_TRAIN,
                "-m",
                *sweep_overrides(sweep),
                literal_override("hydra.sweep.dir", sweep),
            ]
        except RunFolderError:  # which the comparison reports
            return False
        again[sweep] = shlex.join(words)
    return True


def _resume(run: Run) -> str:
    if (run.folder / CONFIG_FILE).exists():
        return shlex.join([*_TRAIN, literal_override("resume", run.folder)])
    return shlex.join([*_TRAIN, *run.overrides, literal_override("hydra.run.dir", run.folder)])
