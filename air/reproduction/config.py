"""What a table of results is, `conf/reproduction/NAME.yaml`, and what is asked of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from air.fields import NonEmptyText, PositiveReal, Real, Seed, strict


@strict
class Published:
    """A figure of somebody else's."""

    what: NonEmptyText
    value: NonEmptyText
    source: NonEmptyText
    beside: str  # words of the setting that it stands beside; none: a row of its own


@strict
class Table:
    """Runs beside one another, and what others have reported."""

    title: NonEmptyText
    about: NonEmptyText
    sweeps: Annotated[list[NonEmptyText], Field(min_length=1)]  # as behind `train.py -m`
    common: str  # what all of them have
    seeds: Annotated[list[Seed], Field(min_length=1)]
    smoke: str  # images so few that a small version takes seconds
    evaluate: dict[str, NonEmptyText]  # as behind `evaluate.py`, by a name of its own
    columns: Annotated[dict[str, NonEmptyText], Field(min_length=1)]  # metrics, and their headers
    success: Real  # what the first metric comes to, at least, in a run that has worked
    after: list[PositiveReal]  # seconds of training, after which the first metric is told too
    curve: NonEmptyText | None  # the metric that is drawn
    rows_by: str  # keys of the settings, of which all values together have a row of panels
    published: list[Published]


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        names: of tables; none: all that there are.
        smoke: run every run for seconds, and leave the repository's results alone.
        train: train what is missing; or else make text and pictures of what there is.
        launch: further words for `train.py -m`: launchers, devices, trackers.
    """

    names: Sequence[str]
    smoke: bool
    train: bool
    launch: Sequence[str]
