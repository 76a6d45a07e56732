"""Runs and sweeps as their folders tell them, whatever launched them and while they still run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from air.cli.compose import compose_values
from air.cli.jobs import sweep_jobs
from air.errors import AIRError, ConfigError, RunFolderError
from air.runs.folder import (
    CONFIG_FILE,
    METRICS_FILE,
    OVERRIDES_FILE,
    SWEEP_FILE,
    read_config,
    read_overrides,
)
from air.runs.lock import is_held
from air.runs.result import RESULT_FILE, RunResult, read_result
from air.tracking.jsonl import read_metrics

Status = Literal["finished", "running", "stopped", "killed", "failed", "waiting", "missing"]


@dataclass(frozen=True)
class Run:
    """A run, or a job of a sweep that has not become one.

    Attributes:
        folder: its own; a missing job has none yet.
        status: killed: it neither ended nor still runs; missing: it never began; waiting: nor has
            it yet, but its sweep still runs.
        overrides: what the command line changed.
        values: its configuration; None if neither its folder nor its overrides tell it.
        metrics: lines of its `metrics.jsonl`.
        result: how it ended, if it did.
        problem: what is wrong with it or its files, in one line.
        sweep: the folder of its sweep, if that is what is compared.
    """

    folder: Path
    status: Status
    overrides: list[str]
    values: dict[str, Any] | None
    metrics: list[dict[str, Any]]
    result: RunResult | None
    problem: str | None
    sweep: Path | None

    @property
    def seed(self) -> int | None:
        """The run's seed, if its configuration is known."""
        return None if self.values is None else self.values.get("seed")

    @property
    def success(self) -> bool | None:
        """Whether it finished with counts that have not collapsed; None if it has not ended."""
        if self.status == "finished":
            return self.result is None or self.result.collapsed is None
        return False if self.status == "failed" else None

    @property
    def iteration(self) -> int:
        """Optimiser steps that are known to have been taken."""
        logged = self.metrics[-1]["iteration"] if self.metrics else 0
        return max(logged, self.result.iteration if self.result else 0)


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read all runs in some folders, and name the jobs that their sweeps still lack.

    Args:
        paths: folders of runs, of sweeps, or of any of these.

    Returns:
        Each run once, in the order of the folders and of the jobs; and what cannot be known.

    Raises:
        ConfigError: a folder is absent, or holds neither a run nor a sweep.
    """
    runs: dict[Path, Run] = {}
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            raise ConfigError(f"runs: must be folders of runs or of sweeps, got {path}")
        found = [folder for folder in _walk(path) if _is_run(folder)]
        sweeps = [folder for folder in _walk(path) if (folder / SWEEP_FILE).is_file()]
        if not found and not sweeps:
            raise ConfigError(f"runs: {path} holds neither a run nor a sweep")
        for sweep in sweeps:
            jobs = [folder for folder in found if sweep in folder.parents]
            members = [read_run(folder, sweep) for folder in jobs]
            missing, note = _missing(sweep, members)
            notes += note
            members = sorted([*members, *missing], key=_job_order)
            runs |= {run.folder.resolve(): run for run in members}
        single = [folder for folder in found if folder.resolve() not in runs]
        runs |= {folder.resolve(): read_run(folder, None) for folder in single}
    return list(runs.values()), notes


def read_run(folder: Path, sweep: Path | None) -> Run:
    """Read a run's folder; whatever it lacks or has damaged is a problem of that run alone."""
    problems: list[str] = []
    result = read_result(folder)
    held = result is None and is_held(folder)
    status: Status = result.status if result else "running" if held else "killed"
    overrides = _recorded_overrides(folder, problems)
    values: dict[str, Any] | None = None
    try:
        if (folder / CONFIG_FILE).exists():
            values = read_config(folder)
        elif overrides:
            values = compose_values(overrides)
    except AIRError as error:
        if not (result and result.error):  # which says it already
            problems.append(str(error))
    metrics: list[dict[str, Any]] = []
    try:
        if (folder / METRICS_FILE).exists():
            metrics = read_metrics(folder / METRICS_FILE)
    except (OSError, ValueError) as error:
        problems.append(f"{folder / METRICS_FILE}: damaged: {error}")
    if result and result.error:
        problems.insert(0, result.error)
    elif result and result.collapsed:
        problems.insert(0, f"the counts have collapsed: {result.collapsed}")
    elif result is None and (folder / RESULT_FILE).exists():
        problems.append(f"{folder / RESULT_FILE}: damaged")
    problem = "; ".join(" ".join(text.split()) for text in problems) or None
    return Run(folder, status, overrides, values, metrics, result, problem, sweep)


def _recorded_overrides(folder: Path, problems: list[str]) -> list[str]:
    try:
        return read_overrides(folder) or []
    except RunFolderError as error:
        problems.append(str(error))
        return []


# --- what a sweep lacks ---------------------------------------------------------------------------


def _missing(sweep: Path, runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Return the jobs that a sweep should have and has not begun, and what cannot be known."""
    try:
        expected = sweep_jobs(sweep)
    except RunFolderError as error:
        return [], [str(error)]
    if expected is None:
        return [], [f"{sweep}: its sweeper chooses the jobs as it goes; all those begun are here"]
    # By number, then by what they are: the order of a shuffled sweep is not in its command line.
    taken = {run.folder.name: run for run in runs}
    absent = []
    for number, job in enumerate(expected):
        run = taken.get(str(number))
        if run is not None and (not run.overrides or _begins(run, job)):
            del taken[str(number)]
        else:
            absent.append(job)
    for run in list(taken.values()):
        same = [job for job in absent if _begins(run, job)]
        if same:
            absent.remove(same[0])
    free = (n for n in range(len(expected) + len(runs)) if not _is_run(sweep / str(n)))
    return [_missing_job(sweep / str(next(free)), job) for job in absent], []


def _begins(run: Run, job: list[str]) -> bool:
    """Return whether a run is of a job; resuming a run adds to its overrides."""
    return run.overrides[: len(job)] == job


def _missing_job(folder: Path, overrides: list[str]) -> Run:
    values, problem = None, None
    try:
        values = compose_values(overrides)
    except ConfigError as error:
        problem = str(error)
    status: Status = "waiting" if is_held(folder.parent) else "missing"
    return Run(folder, status, overrides, values, [], None, problem, folder.parent)


# --- folders --------------------------------------------------------------------------------------


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG_FILE, OVERRIDES_FILE, RESULT_FILE))


def _walk(path: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it that are not inside a run, in order."""
    for folder, inside, _ in os.walk(path):
        inside.sort()
        if _is_run(Path(folder)):
            inside.clear()
        yield Path(folder)


def _job_order(run: Run) -> tuple[float, str]:
    name = run.folder.name
    return (float(name) if name.isdecimal() else float("inf"), name)
