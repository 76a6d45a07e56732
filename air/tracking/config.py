"""Where figures go, the group `tracking`, and what `scripts/dashboard.py` lays out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.fields import GivenPath, strict


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


@strict
class TrackioConfig:
    """Trackio, on this machine."""

    kind: Literal["trackio"]
    project: Annotated[str, Field(pattern=r"^[\w-]+$")]  # Trackio leaves other characters out
    run_name: str
    group: str | None
    folder: GivenPath  # of the database; the environment variable TRACKIO_DIR comes first


@strict
class NoTrackingConfig:
    """Only `metrics.jsonl` and the console."""

    kind: Literal["none"]


TrackingConfig = WandbConfig | TrackioConfig | NoTrackingConfig


Name = Annotated[str, Field(min_length=1)]


@strict
class DashboardConfig:
    """A saved view of a project on W&B."""

    project: Name
    entity: Name | None
    name: Name
    save: bool
