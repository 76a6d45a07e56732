"""The interface that the trainer knows, the null tracker, and several trackers as one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from air.errors import WriteError
from air.tracking.values import Value

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where a run's figures go."""

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
        """Close; 0 means that the run did what it set out to do."""
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


class Trackers:
    """Several trackers as one. One that fails is left out from then on: training matters more.

    But where a file of the run itself cannot be written, the run must end, to be resumed without a
    gap in its records.

    Args:
        trackers: where to record.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._working = list(trackers)
        self._failed: list[Tracker] = []

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Record in every tracker."""
        self._each(lambda tracker: tracker.log(iteration, values))

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Record in every tracker."""
        self._each(lambda tracker: tracker.summarize(values))

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Keep it in every tracker."""
        self._each(lambda tracker: tracker.keep_model(path, values))

    def alert(self, title: str, text: str) -> None:
        """Tell it through every tracker."""
        self._each(lambda tracker: tracker.alert(title, text))

    def finish(self, exit_code: int) -> None:
        """Close every tracker, also those that failed: they may hold files or a connection."""
        failed_before = list(self._failed)
        self._each(lambda tracker: tracker.finish(exit_code))
        for tracker in failed_before:
            with contextlib.suppress(Exception):  # its failure has been reported
                tracker.finish(exit_code)

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for tracker in list(self._working):
            try:
                call(tracker)
            except WriteError:
                raise
            except Exception as error:  # whatever a service may raise, but no interruption
                self._working.remove(tracker)
                self._failed.append(tracker)
                log.warning(
                    "%s failed and is left out from now on: %s: %s",
                    type(tracker).__name__,
                    type(error).__name__,
                    " ".join(str(error).split()),
                )
