"""The tables that there are, and what each of them is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from air.cli.overrides import CONF
from air.config.parsing import parse_as
from air.errors import ConfigError
from air.reproduction.config import Table

TABLES = CONF / "reproduction"


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
