"""The jobs of a sweep, and the command that runs it: both from Hydra's own record of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from air.cli.command import one_line
from air.cli.compose import hydra_on_conf
from air.errors import ConfigError, RunFolderError
from air.runs.folder import SWEEP_FILE

_GRID_SWEEPER = "BasicSweeper"  # Hydra's own: every combination of the values, in a fixed order


def sweep_jobs(sweep_dir: Path) -> list[list[str]] | None:
    """Return the overrides of every job that a sweep should have, by the job's number.

    Args:
        sweep_dir: a folder with Hydra's multirun.yaml.

    Returns:
        None if a sweeper chose the jobs one after another, so that only it could know them all.

    Raises:
        RunFolderError: the file cannot be read, or is not what Hydra writes.
    """
    hydra = _read(sweep_dir)
    if hydra["sweeper"]["_target_"].rpartition(".")[2] != _GRID_SWEEPER:
        return None
    params = [f"{key}={value}" for key, value in (hydra["sweeper"].get("params") or {}).items()]
    try:
        return grid_jobs([*params, *hydra["overrides"]["task"]])
    except ConfigError as error:
        raise RunFolderError(f"{sweep_dir / SWEEP_FILE}: {error}") from None


def grid_jobs(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every job of a grid, by the job's number.

    Args:
        overrides: as behind `train.py -m`, in Hydra's own grammar.

    Raises:
        ConfigError: Hydra cannot read one of them, or it has an interval.
    """
    try:
        with hydra_on_conf() as config_loader:
            parser = OverridesParser.create(config_loader=config_loader)
            return _grid(parser.parse_overrides(list(overrides)))
    except HydraException as error:
        raise ConfigError(one_line(error)) from None


def _grid(overrides: Sequence[Override]) -> list[list[str]]:
    """Return every combination of values as Hydra numbers them: the last key varies fastest.

    Raises:
        HydraException: a key has an interval, of which there is no first value.
    """
    choices: dict[str, list[str]] = {}  # by key: one that is given again takes its earlier place
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values = [override.get_value_element_as_str()]
        elif override.is_discrete_sweep():
            values = list(override.sweep_string_iterator())
        else:
            raise HydraException(f"{key}: has an interval, which a grid cannot list")
        choices[key] = [f"{key}={value}" for value in values]
    return [list(job) for job in itertools.product(*choices.values())]


def sweep_overrides(sweep_dir: Path) -> list[str]:
    """Return what the command line of a sweep said, but for its mode and its folder.

    Raises:
        RunFolderError: as `sweep_jobs`.
    """
    overrides = _read(sweep_dir)["overrides"]
    given = [*overrides.get("hydra", []), *overrides["task"]]
    return [text for text in given if not text.startswith(("hydra.mode=", "hydra.sweep.dir="))]


def _read(sweep_dir: Path) -> dict[str, Any]:
    file = sweep_dir / SWEEP_FILE
    try:
        hydra: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
        known = isinstance(hydra["sweeper"]["_target_"], str)
        if known and isinstance(hydra["overrides"]["task"], list):
            return hydra
        problem = "it is not what Hydra writes"
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = one_line(error)
    except (LookupError, TypeError):
        problem = "it is not what Hydra writes"
    raise RunFolderError(f"{file}: cannot be read: {problem}")
