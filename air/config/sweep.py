"""The jobs of a sweep: what Hydra's own sweeper made, or would make, of its command line."""

from __future__ import annotations

from pathlib import Path

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from air.config.command import one_line
from air.config.compose import hydra_on_conf
from air.errors import RunFolderError

SWEEP_FILE = "multirun.yaml"


def sweep_jobs(sweep_dir: Path) -> list[list[str]] | None:
    """Return the overrides of every job that a sweep should have, by the job's number.

    Args:
        sweep_dir: a folder with Hydra's multirun.yaml.

    Returns:
        None if a sweeper chose the jobs one after another, so that only it could know them all.

    Raises:
        RunFolderError: the file cannot be read, or is not what Hydra writes.
    """
    file = sweep_dir / SWEEP_FILE
    try:
        hydra = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
        kind = hydra["sweeper"]["_target_"].rpartition(".")[2]
        params, overrides = hydra["sweeper"].get("params") or {}, hydra["overrides"]["task"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError) as error:
        raise RunFolderError(f"{file}: cannot be read: {one_line(error)}") from None
    if kind != BasicSweeper.__name__:
        return None
    try:
        with hydra_on_conf() as config_loader:
            parser = OverridesParser.create(config_loader=config_loader)
            parsed = parser.parse_overrides([*(f"{k}={v}" for k, v in params.items()), *overrides])
            (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise RunFolderError(f"{file}: {one_line(error)}") from None
    return [list(job) for job in jobs]
