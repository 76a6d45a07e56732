"""The interface that the trainer knows, the null tracker, and several trackers as one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from air.tracking.values import Value

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where a run's metrics go."""

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Record values by name, such as "val/count_accuracy", at an iteration."""
        ...

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Record what the run comes down to."""
        ...

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Keep a copy of the run's best checkpoint, with what is known about it."""
        ...

    def alert(self, title: str, text: str) -> None:
        """Tell whoever watches the run what is wrong with it, which the log has said too."""
        ...

    def finish(self, exit_code: int) -> None:
        """Close; an exit code of 0 means that the run has finished."""
        ...


class NullTracker:
    """Records nothing."""

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Do nothing."""

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Do nothing."""

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Do nothing."""

    def alert(self, title: str, text: str) -> None:
        """Do nothing."""

    def finish(self, exit_code: int) -> None:
        """Do nothing."""
