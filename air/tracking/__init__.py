"""Where a run's figures go: `metrics.jsonl` always, and the service that is configured, if any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import assert_never

from air.config import NoTrackingConfig, TrackingConfig, TrackioConfig, WandbConfig
from air.run_folder import METRICS_FILE
from air.tracking.console import Progress
from air.tracking.jsonl import JSONLTracker, read_metrics
from air.tracking.tracker import NullTracker, Tracker, Trackers
from air.tracking.trackio_tracker import TrackioTracker, check_trackio
from air.tracking.values import Box, ConfusionMatrix, Histogram, Picture, Value
from air.tracking.wandb_tracker import check_wandb, open_wandb

__all__ = [
    "Box",
    "ConfusionMatrix",
    "Histogram",
    "JSONLTracker",
    "NullTracker",
    "Picture",
    "Progress",
    "Tracker",
    "Trackers",
    "Value",
    "build_tracker",
    "check_tracking",
    "open_wandb",
    "read_metrics",
]


def check_tracking(config: TrackingConfig) -> None:
    """Raise what `build_tracker` would, before anything is written."""
    if isinstance(config, WandbConfig):
        check_wandb(config)
    if isinstance(config, TrackioConfig):
        check_trackio(config)


def build_tracker(
    config: TrackingConfig,
    run_dir: Path,
    resolved_config: dict[str, Any],
    resume_iteration: int | None,
    looks_again: bool = False,
) -> Tracker:
    """Open the trackers of a run.

    Args:
        config: which service, if any.
        run_dir: the run's folder.
        resolved_config: every value of the run.
        resume_iteration: where a resumed run goes on; None for a new one.
        looks_again: whether a resumed run has only its last look at the held-out images before it.

    Raises:
        ConfigError: the service does not accept the configuration, or W&B online has no API key.
        MissingExtraError: the service's package is not installed.
        WriteError: metrics.jsonl cannot be written.
    """
    trackers: list[Tracker] = []
    match config:
        case WandbConfig():
            service = open_wandb(config, run_dir, resolved_config)
            if service is not None:
                trackers.append(service)
        case TrackioConfig():
            trackers.append(TrackioTracker(config, run_dir, resolved_config))
        case NoTrackingConfig():
            pass
        case _:
            assert_never(config)
    record = JSONLTracker(run_dir / METRICS_FILE, resume_iteration, looks_again)
    return Trackers([record, *trackers])
