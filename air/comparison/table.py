"""The comparison in rows: one for each setting, with its mean over seeds, and one for each run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from air.comparison.measures import Metric, Spread, best_value, last_value, spread, training_seconds
from air.comparison.settings import ABSENT, Group, Grouping, flat_settings, short

Cell = str | float | int | None


@dataclass(frozen=True)
class Row:
    """A setting over its seeds; only finished runs are in the means, all are in `runs`.

    Attributes:
        group: the runs and what sets them apart.
        num_finished: how many of them finished.
        num_ended: how many of them finished or failed.
        success_rate: share of these whose counts have not collapsed at the end; None if none has
            ended.
        last: of each metric, the metric to sort by first.
        best: of the metric to sort by.
        seconds: of training.
    """

    group: Group
    num_finished: int
    num_ended: int
    success_rate: float | None
    last: dict[str, Spread]
    best: Spread
    seconds: Spread


def make_rows(grouping: Grouping, metric: Metric, others: Sequence[str]) -> list[Row]:
    """Return a row for each group, the best first and those without a finished run last.

    Args:
        grouping: the runs.
        metric: to sort by.
        others: further metrics.
    """
    rows = []
    for group in grouping.groups:
        finished = [run for run in group.runs if run.status == "finished"]
        ended = [run.success for run in group.runs if run.success is not None]
        names = dict.fromkeys([metric.name, *others])
        rows.append(
            Row(
                group=group,
                num_finished=len(finished),
                num_ended=len(ended),
                success_rate=sum(ended) / len(ended) if ended else None,
                last={name: spread([last_value(run, name) for run in finished]) for name in names},
                best=spread([best_value(run, metric) for run in finished]),
                seconds=spread([training_seconds(run) for run in finished]),
            )
        )
    return sorted(rows, key=lambda row: -metric.better(row.last[metric.name].mean))


# --- for reading ----------------------------------------------------------------------------------


def settings_table(rows: Sequence[Row], style: str = "simple") -> str:
    """Return the rows as a table, with the value of every seed.

    Args:
        rows: from `make_rows`, at least one.
        style: of tabulate.
    """
    names = list(rows[0].last)
    places = {name: decimals(row.last[name].mean for row in rows) for name in names}
    seeds = [[run.seed for run in row.group.runs] for row in rows]
    same = len(seeds[0]) > 1 and all(each == seeds[0] for each in seeds)
    table = []
    for row in rows:
        each = []
        for run in row.group.runs:
            value = format_number(last_value(run, names[0]), places[names[0]])
            text = value if run.status == "finished" else run.status
            each.append(text if same else f"{_text(run.seed)}: {text}")
        table.append(
            [
                *map(short, row.group.cells.values()),
                f"{row.num_finished} of {len(row.group.runs)}",
                ABSENT if row.success_rate is None else f"{row.success_rate:.0%}",
                *(_spread(row.last[name], places[name]) for name in names),
                _spread(row.best, places[names[0]]),
                _spread(row.seconds, 1),
                ", ".join(each),
            ]
        )
    by_seed = f"seed {', '.join(_text(seed) for seed in seeds[0])}" if same else "seed: value"
    headers = [*rows[0].group.cells, "finished", "success", *names, "best", "seconds", by_seed]
    return format_table(table, headers, style)


def problems_table(grouping: Grouping, metric: Metric, style: str = "simple") -> str | None:
    """Return every run that has not finished or has a problem, how far it came and why, or None."""
    table = [
        [
            run.status,
            str(run.folder),
            *map(short, group.cells.values()),
            _text(run.seed),
            str(run.iteration),
            format_number(last_value(run, metric.name), 4),
            run.problem or "",
        ]
        for group in grouping.groups
        for run in group.runs
        if run.status != "finished" or run.problem
    ]
    headers = [
        "status",
        "run",
        *grouping.columns,
        "seed",
        "iteration",
        metric.name,
        "what is wrong",
    ]
    return format_table(table, headers, style) if table else None


def format_table(table: Sequence[Sequence[str]], headers: Sequence[str], style: str) -> str:
    """Return texts as a table, in one of tabulate's styles."""
    if style == "github":  # where a bar ends a cell
        table = [[text.replace("|", "\\|") for text in row] for row in table]
    return tabulate(table, headers=headers, tablefmt=style, disable_numparse=True)


def _spread(values: Spread, decimals: int) -> str:
    mean = format_number(values.mean, decimals)
    return mean if values.sd is None else f"{mean} ± {format_number(values.sd, decimals)}"


def format_number(value: float | None, decimals: int) -> str:
    """Return a number as text, and a dash for none."""
    return ABSENT if value is None else f"{value:.{decimals}f}"


def _text(value: object) -> str:
    return ABSENT if value is None else str(value)


def decimals(values: Iterable[float | None]) -> int:
    """Return how many decimals to show: four, and fewer where the largest value is above 10."""
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(sizes, default=0.0)
    return 4 if largest < 10 else max(1, 3 - int(math.log10(largest)))


# --- for other programs ---------------------------------------------------------------------------


def settings_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, every number in full."""
    names = list(rows[0].last)
    spreads = [*names, f"best {names[0]}", "seconds"]
    headers = [f"{name} {part}" for name in spreads for part in ("mean", "sd")]
    table: list[list[Cell]] = [
        [
            *(*rows[0].group.cells, "runs", "finished", "ended", "success rate"),
            *(*headers, "seeds", "values"),
        ]
    ]
    for row in rows:
        measures = [*row.last.values(), row.best, row.seconds]
        values = [
            last_value(run, names[0]) if run.status == "finished" else run.status
            for run in row.group.runs
        ]
        table.append(
            [
                *row.group.cells.values(),
                len(row.group.runs),
                row.num_finished,
                row.num_ended,
                row.success_rate,
                *(part for each in measures for part in (each.mean, each.sd)),
                " ".join(_text(run.seed) for run in row.group.runs),
                " ".join(_text(value) for value in values),
            ]
        )
    return _csv(table)


def runs_csv(grouping: Grouping, metric: Metric, others: Sequence[str]) -> str:
    """Return every run as a line of CSV, finished or not, with all that varies."""
    names = list(dict.fromkeys([metric.name, *others]))
    table: list[list[Cell]] = [
        [
            *(
                "run",
                "status",
                "success",
                "seed",
                *grouping.columns,
                *grouping.companions,
                "iteration",
            ),
            *(*names, f"best {metric.name}", "seconds", "problem"),
        ]
    ]
    for group in grouping.groups:
        for run in group.runs:
            settings = flat_settings(run.values or {})
            table.append(
                [
                    *(str(run.folder), run.status, run.success, run.seed, *group.cells.values()),
                    *(settings.get(key) for key in grouping.companions),
                    run.iteration,
                    *(last_value(run, name) for name in names),
                    *(best_value(run, metric), training_seconds(run), run.problem),
                ]
            )
    return _csv(table)


def _csv(table: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()
