"""Tables from their names: train what is missing, keep it as CSV, write RESULTS.md."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from air.errors import ConfigError
from air.pictures.figure_files import save_figure
from air.reproduction.archive import read_archive, write_archive
from air.reproduction.config import Request
from air.reproduction.curves import draw_curves
from air.reproduction.report import section, write_section
from air.reproduction.running import run_sweep, sweeps_of
from air.reproduction.tables import read_table, table_names

log = logging.getLogger(__name__)


class Places(NamedTuple):
    """Where things are, from where the command is started."""

    results: Path
    archive: Path
    sweeps: Path


REAL = Places(Path("RESULTS.md"), Path("outputs/results"), Path("outputs/reproduction"))
_SMOKE = Path("outputs/reproduction/smoke")
SMOKE = Places(_SMOKE / "RESULTS.md", _SMOKE / "results", _SMOKE / "sweeps")


def reproduce(request: Request) -> None:
    """Reproduce tables, one after the other.

    Raises:
        AIRError: a table or what is kept of it cannot be used; a file cannot be written.
    """
    names = list(request.names) or table_names()
    tables = {name: read_table(name) for name in names}
    sweeps = {name: sweeps_of(table, request.smoke) for name, table in tables.items()}
    places = SMOKE if request.smoke else REAL
    launch = list(request.launch)
    if not any(word.startswith("tracking=") for word in launch):
        launch.append("tracking=none")
    missing: list[str] = []
    for name, table in tables.items():
        kept = {run.key: run for run in read_archive(places.archive, name)}
        wanted = [job for sweep in sweeps[name] for job in sweep.jobs]
        for sweep in sweeps[name] if request.train else []:
            if set(sweep.jobs) <= kept.keys():
                continue
            for run in run_sweep(sweep, table, places.sweeps / name, launch):
                kept[run.key] = run
            so_far = [kept[job] for job in wanted if job in kept]
            if so_far:
                write_archive(places.archive, name, so_far)
        runs = [kept[job] for job in wanted if job in kept]
        missing += [
            f"{name}: {setting} seed={seed}"
            for setting, seed in wanted
            if (setting, seed) not in kept
        ]
        if not runs:
            continue
        figure = draw_curves(runs, table.curve, table.rows_by) if table.curve else None
        picture = None
        if figure is not None:
            (file,) = save_figure(figure, places.archive / name)
            picture = file.relative_to(places.results.parent).as_posix()
        write_section(places.results, name, section(name, table, runs, picture))
        log.info("%s: written to %s%s", name, places.results, f", with {file}" if figure else "")
    if missing:
        raise ConfigError(
            f"{len(missing)} runs have not ended, the first of them {missing[0]}; the same command "
            "continues them"
        )
