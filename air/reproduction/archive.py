"""Runs as two compact CSV files, from which tables and pictures can be made again.

NAME.csv           a line for each run: what it is, how it ended, its last metrics, where it was run
NAME-curves.csv    a line for each evaluation on the way
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from air.comparison.measures import last_value, training_times
from air.comparison.reading import Run, Status
from air.errors import ConfigError
from air.runs.files import write_csv

_RUN = ("setting", "seed", "status", "iterations", "seconds", "commit", "machine")
_POINT = ("setting", "seed", "iteration", "seconds")


@dataclass(frozen=True)
class Archived:
    """A run as it is kept.

    Attributes:
        setting: the words of its command, without its seed.
        seed: of the run.
        status: finished or failed.
        iterations: optimiser steps taken.
        seconds: of training.
        commit: of the repository, when it was run.
        machine: on which it was run.
        metrics: the last value of each.
        curves: on the way: iteration, seconds, and metrics.
    """

    setting: str
    seed: int
    status: Status
    iterations: int
    seconds: float
    commit: str
    machine: str
    metrics: dict[str, float]
    curves: list[dict[str, float]]

    @property
    def words(self) -> dict[str, str]:
        """The words of its command, by their keys."""
        return dict(word.partition("=")[::2] for word in shlex.split(self.setting))

    @property
    def key(self) -> tuple[str, int]:
        """What tells a run from all others of its table."""
        return self.setting, self.seed

    def as_run(self) -> Run:
        """Return what `air.comparison` takes; of its values only what its command said is known."""
        lines: list[dict[str, Any]] = []
        iteration, seconds = 0, 0.0
        for point in self.curves:
            speed = (point["iteration"] - iteration) / max(point["seconds"] - seconds, 1e-9)
            iteration, seconds = int(point["iteration"]), point["seconds"]
            lines.append({**point, "iteration": iteration, "time/steps_per_second": speed})
        lines.append({"iteration": self.iterations, **self.metrics})
        return Run(
            folder=Path(self.setting) / str(self.seed),
            status=self.status,
            overrides=shlex.split(self.setting),
            values={**self.words, "seed": self.seed},
            metrics=lines,
            result=None,
            problem=None,
            sweep=None,
        )


def archived(
    run: Run,
    setting: str,
    seed: int,
    evaluated: Mapping[str, float],
    names: Iterable[str],
    commit: str,
    machine: str,
) -> Archived:
    """Return what is kept of a run that has ended.

    Args:
        run: from its folder.
        setting: the words of its command, without its seed.
        seed: of the run.
        evaluated: what `evaluate.py` found.
        names: of the metrics that are kept.
        commit: of the repository.
        machine: this one.
    """
    times, names = training_times(run), list(names)
    points: dict[int, dict[str, float]] = {}
    for line in run.metrics:
        known = {name: line[name] for name in names if line.get(name) is not None}
        iteration = line["iteration"]
        if known and iteration in times:
            start = {"iteration": iteration, "seconds": round(times[iteration], 3)}
            points.setdefault(iteration, start).update(known)
    last = {name: last_value(run, name) for name in names}
    return Archived(
        setting=setting,
        seed=seed,
        status=run.status,
        iterations=run.iteration,
        seconds=round(max(times.values(), default=0.0), 3),
        commit=commit,
        machine=machine,
        metrics={**{name: value for name, value in last.items() if value is not None}, **evaluated},
        curves=list(points.values()),
    )


def read_archive(folder: Path, name: str) -> list[Archived]:
    """Return what is kept of a table's runs; nothing if the files are not there.

    Raises:
        ConfigError: a file is not what `write_archive` writes.
    """
    file, curves_file = _files(folder, name)
    if not file.exists():
        return []
    try:
        curves: dict[tuple[str, int], list[dict[str, float]]] = {}
        for line in _lines(curves_file):
            point = {key: float(value) for key, value in line.items() if key != "setting" and value}
            curves.setdefault((line["setting"], int(point.pop("seed"))), []).append(point)
        found = []
        for line in _lines(file):
            key = line["setting"], int(line["seed"])
            metrics = {each: float(line[each]) for each in line if each not in _RUN and line[each]}
            found.append(
                Archived(
                    *key,
                    status="finished" if line["status"] == "finished" else "failed",
                    iterations=int(line["iterations"]),
                    seconds=float(line["seconds"]),
                    commit=line["commit"],
                    machine=line["machine"],
                    metrics=metrics,
                    curves=curves.get(key, []),
                )
            )
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise ConfigError(f"{file}: is damaged: {error}; delete it to train anew") from None
    return found


def write_archive(folder: Path, name: str, runs: Sequence[Archived]) -> None:
    """Write what is kept of a table's runs, each file whole or not at all.

    Raises:
        WriteError: a file cannot be written.
    """
    file, curves_file = _files(folder, name)
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    on_the_way = dict.fromkeys(each for run in runs for point in run.curves for each in point)
    points = [
        {"setting": run.setting, "seed": run.seed, **point} for run in runs for point in run.curves
    ]
    write_csv(curves_file, list(dict.fromkeys((*_POINT, *on_the_way))), map(_short, points))
    lines = [{**{key: getattr(run, key) for key in _RUN}, **run.metrics} for run in runs]
    write_csv(file, [*_RUN, *metrics], map(_short, lines))


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.csv", folder / f"{name}-curves.csv"


def _lines(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _short(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line whose numbers have as many digits as they are worth."""
    return {
        key: f"{value:.7g}" if isinstance(value, float) else value for key, value in line.items()
    }
