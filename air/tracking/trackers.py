"""All that records a run, as one tracker: `metrics.jsonl`, and the service that is configured."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from air.errors import WriteError
from air.runs.folder import METRICS_FILE
from air.tracking.config import TrackingConfig
from air.tracking.jsonl import JSONLTracker
from air.tracking.tracker import Tracker
from air.tracking.values import Value

log = logging.getLogger(__name__)


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


def build_tracker(
    config: TrackingConfig,
    run_dir: Path,
    resolved_config: dict[str, Any],
    resume_iteration: int | None,
    evaluates_again: bool = False,
) -> Tracker:
    """Open the trackers of a run.

    Args:
        config: which service, if any.
        run_dir: the run's folder.
        resolved_config: every value of the run.
        resume_iteration: from which the run resumes; None for a new one.
        evaluates_again: whether only the last evaluation of a resumed run is still to come.

    Raises:
        ConfigError: the service does not accept the configuration, or W&B online has no API key.
        MissingExtraError: the service's package is not installed.
        WriteError: metrics.jsonl cannot be written.
    """
    service = config.build(run_dir, resolved_config)
    record = JSONLTracker(run_dir / METRICS_FILE, resume_iteration, evaluates_again)
    return Trackers([record, service])
