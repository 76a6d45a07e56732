"""What a table of results is: `conf/reproduction/NAME.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from air.cli.overrides import CONF
from air.config.parsing import parse_as
from air.errors import ConfigError
from air.fields import NonEmptyText, PositiveReal, Seed, strict

TABLES = CONF / "reproduction"


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
    smoke: NonEmptyText  # what makes any of the runs one of seconds
    evaluate: dict[str, NonEmptyText]  # as behind `evaluate.py`, by a name of its own
    columns: Annotated[dict[str, NonEmptyText], Field(min_length=1)]  # metrics, and their headers
    after: list[PositiveReal]  # seconds of training, after which the first metric is told too
    curves: list[NonEmptyText]  # metrics that are drawn
    published: list[Published]


def table_names() -> list[str]:
    """Return the names of the tables that there are."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def read_table(name: str) -> Table:
    """Read what a table is.

    Args:
        name: of its file.

    Raises:
        ConfigError: there is none, or a value in it is wrong.
    """
    if name not in table_names():
        raise ConfigError(f"what: must be among {', '.join(table_names())}, got {name}")
    path = TABLES / f"{name}.yaml"
    try:
        return parse_as(Table, _read(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"must hold keys and values, got {values!r}")
    return values
