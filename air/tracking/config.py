"""Where a run's metrics go: the group `tracking`, each option with its `check` and its `build`; and
what `scripts/dashboard.py` lays out.

Another tracker is a dataclass here with a `kind` of its own in the union `TrackingConfig`, the
module that its methods import, and a preset in `conf/tracking/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from air.fields import GivenPath, NonEmptyText, strict

if TYPE_CHECKING:
    from air.tracking.tracker import Tracker


@strict
class WandbConfig:
    """Weights & Biases, online or offline."""

    kind: Literal["wandb"]
    mode: Literal["auto", "online", "offline", "disabled"]
    project: str
    entity: str | None
    run_name: str | None
    group: str | None
    job_type: str | None
    tags: list[str]
    notes: str | None

    def check(self) -> None:
        """Raise what `build` would, before anything is written.

        Raises:
            ConfigError: W&B does not accept it, or is to be online without an API key.
        """
        from air.tracking.wandb_tracker import check_wandb

        check_wandb(self)

    def build(self, run_dir: Path, resolved_config: dict[str, Any]) -> Tracker:
        """Start a run on W&B, or resume it.

        Args:
            run_dir: the run's folder.
            resolved_config: every value of the run.

        Raises:
            ConfigError: as `check`.
        """
        from air.tracking.wandb_tracker import open_wandb

        return open_wandb(self, run_dir, resolved_config)


@strict
class TrackioConfig:
    """Trackio, on this machine."""

    kind: Literal["trackio"]
    project: Annotated[str, Field(pattern=r"^[\w-]+$")]  # Trackio leaves other characters out
    run_name: str
    group: str | None
    folder: GivenPath  # of the database; the environment variable TRACKIO_DIR comes first

    def check(self) -> None:
        """Raise what `build` would, before anything is written.

        Raises:
            MissingExtraError: Trackio is not installed.
            ConfigError: it does not accept the project, or this process has used another folder.
        """
        from air.tracking.trackio_tracker import check_trackio

        check_trackio(self)

    def build(self, run_dir: Path, resolved_config: dict[str, Any]) -> Tracker:
        """Start a run in Trackio's database, or resume it.

        Args:
            run_dir: the run's folder.
            resolved_config: every value of the run.

        Raises:
            MissingExtraError, ConfigError: as `check`.
        """
        from air.tracking.trackio_tracker import TrackioTracker

        return TrackioTracker(self, run_dir, resolved_config)


@strict
class NoTrackingConfig:
    """Only `metrics.jsonl` and the console."""

    kind: Literal["none"]

    def check(self) -> None:
        """Accept anything: there is no service."""

    def build(self, run_dir: Path, resolved_config: dict[str, Any]) -> Tracker:
        """Return a tracker that records nothing."""
        from air.tracking.tracker import NullTracker

        return NullTracker()


TrackingConfig = Annotated[
    WandbConfig | TrackioConfig | NoTrackingConfig, Field(discriminator="kind")
]


@strict
class DashboardConfig:
    """A saved view of a project on W&B."""

    project: NonEmptyText
    entity: NonEmptyText | None
    name: NonEmptyText
    save: bool
