"""RESULTS.md and its pictures, from what is kept of the runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from air.comparison.measures import Metric, curve, last_value, spread, training_times
from air.comparison.reading import Run
from air.comparison.settings import ABSENT, group_runs, short
from air.comparison.table import Row, decimals, format_table, make_rows
from air.reproduction.archive import Archived
from air.reproduction.config import Published, Table
from air.runs.files import write_whole


def write_section(file: Path, name: str, text: str) -> None:
    """Put a table's section into a file: in the place of the one before, or at the end.

    Args:
        file: RESULTS.md; what is outside of such sections is left alone.
        name: of the table.
        text: the section.

    Raises:
        WriteError: the file cannot be written.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n{text}\n{end}\n"
    before = file.read_text(encoding="utf-8") if file.exists() else "# Results\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end) + "\n", re.S)
    after, found = pattern.subn(lambda _: section, before)
    write_whole(file, (after if found else f"{before}\n{section}").encode())


def rows_of(runs: Sequence[Archived], table: Table) -> list[Row]:
    """Return a row for each setting, in the order of the table's command lines."""
    grouping = group_runs([run.as_run() for run in runs])
    first, *others = table.columns
    rows = make_rows(grouping, Metric(first, "max"), others)
    order = [id(group) for group in grouping.groups]
    return sorted(rows, key=lambda row: order.index(id(row.group)))


def section(name: str, table: Table, runs: Sequence[Archived], picture: str | None) -> str:
    """Return the text of a table's section.

    Args:
        name: of the table.
        table: what it is.
        runs: what is kept of its runs, at least one.
        picture: the file of its curves, from RESULTS.md, if there is one.
    """
    commits = ", ".join(dict.fromkeys(run.commit for run in runs))
    machines = "; ".join(dict.fromkeys(run.machine for run in runs))
    minutes = sum(run.seconds for run in runs) / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.1f} minutes"
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    first = next(iter(table.columns))
    parts = [
        f"## {table.title}",
        table.about.strip(),
        f"`python scripts/reproduce.py {name}`: {len(runs)} runs, seeds {seeds}, {time} "
        f"of training in all; {machines}; commit {commits}. Means ± standard deviations over all "
        f"seeds; *success* is a run with {_number(first, table.success)} or more; seconds are of "
        "training alone.",
        markdown(rows_of(runs, table), table),
    ]
    if table.common:
        parts.append(f"All of them: `{table.common}`.")
    if picture is not None:
        parts.append(f"![{table.title}]({picture})")
    return "\n\n".join(parts)


def markdown(rows: Sequence[Row], table: Table) -> str:
    """Return rows as a Markdown table, with every seed, and published figures beside them."""
    first, *others = table.columns
    headers = [
        "setting",
        table.columns[first],
        "each seed",
        "success",
        *(table.columns[name] for name in others),
        *(f"after {seconds:g} s" for seconds in table.after),
        "seconds",
        "elsewhere",
    ]
    lines = []
    for row in rows:
        runs = row.group.runs
        finished = [run for run in runs if run.status == "finished"]
        each = [
            _number(first, last_value(run, first)) if run.status == "finished" else run.status
            for run in runs
        ]
        lines.append(
            [
                _setting(row),
                _mean(first, [last_value(run, first) for run in finished]),
                ", ".join(each),
                f"{_successes(row, table)} of {len(runs)}",
                *(_mean(name, [last_value(run, name) for run in finished]) for name in others),
                *(
                    _mean(first, [after(run, first, end) for run in finished])
                    for end in table.after
                ),
                _seconds(row),
                "; ".join(_cited(each) for each in table.published if _is_beside(each, runs[0])),
            ]
        )
    for published in table.published:
        if not published.beside:
            blank = [""] * (len(headers) - 2)
            lines.append([published.what, *blank, _cited(published, named=True)])
    if not table.published:
        headers, lines = headers[:-1], [line[:-1] for line in lines]
    return format_table(lines, headers, "github")


def _setting(row: Row) -> str:
    """Return the words that set a row apart from the others."""
    cells = row.group.cells.items()
    words = [f"{key}={short(value)}" for key, value in cells if value != ABSENT]
    return f"`{' '.join(words)}`" if words else "all runs"


def _successes(row: Row, table: Table) -> int:
    """Return how many runs have worked."""
    finished = [run for run in row.group.runs if run.status == "finished"]
    values = [last_value(run, next(iter(table.columns))) for run in finished]
    return sum(value is not None and value >= table.success for value in values)


def after(run: Run, name: str, seconds: float) -> float | None:
    """Return a metric's last value within so many seconds of training, or None."""
    times = training_times(run)
    known = [
        value for iteration, value in curve(run, name) if times.get(iteration, 1e99) <= seconds
    ]
    return known[-1] if known else None


def _is_beside(published: Published, run: Run) -> bool:
    words = set(published.beside.split())
    return bool(words) and words <= set(run.overrides)


def _cited(published: Published, named: bool = False) -> str:
    what = "" if named else f"{published.what}: "
    return f"{what}{published.value} ({published.source})"


def _number(name: str, value: float | None, like: float | None = None) -> str:
    """Return a number as text, with as many decimals as one like it has."""
    if value is None:
        return ABSENT
    if "accuracy" in name:
        return f"{100 * value:.2f}"
    return f"{value:.{decimals([value if like is None else like])}f}"


def _mean(name: str, values: Sequence[float | None]) -> str:
    over = spread(values)
    unit = " %" if "accuracy" in name and over.mean is not None else ""
    mean = _number(name, over.mean)
    sd = "" if over.sd is None else f" ± {_number(name, over.sd, over.mean)}"
    return f"{mean}{sd}{unit}"


def _seconds(row: Row) -> str:
    return ABSENT if row.seconds.mean is None else f"{row.seconds.mean:.0f}"
