"""One comparison from its configuration: read the folders, print, draw and write."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from air.comparison.config import CompareConfig
from air.comparison.effects import Effects, main_effects
from air.comparison.measures import Metric, check_metric, choose_metric
from air.comparison.plots import draw_curves, draw_effects
from air.comparison.reading import Run, read_runs
from air.comparison.settings import Grouping, group_runs, short
from air.comparison.table import (
    Row,
    decimals,
    format_table,
    make_rows,
    problems_table,
    runs_csv,
    settings_csv,
    settings_table,
)
from air.comparison.unfinished import commands
from air.errors import ConfigError
from air.pictures.figure_files import save_figure
from air.runs.files import make_folder, write_whole

COMPARISON_FOLDER = "comparison"


@dataclass(frozen=True)
class Comparison:
    """Runs beside one another.

    Attributes:
        runs: all of them, in the order of their folders.
        notes: what cannot be known about them.
        grouping: by what they differ in besides their seed.
        metric: to sort by.
        rows: of the table.
        effects: of the settings; None if there is nothing to tell.
        commands: that finish what has not finished.
    """

    runs: list[Run]
    notes: list[str]
    grouping: Grouping
    metric: Metric
    rows: list[Row]
    effects: Effects | None
    commands: list[str]


def compare_runs(config: CompareConfig) -> Comparison:
    """Compare runs: print the table and the commands that are to be run, write files.

    Args:
        config: which runs, by which metric, and where the files go.

    Returns:
        What was found.

    Raises:
        AIRError: the folders hold no runs, or a setting cannot be used; nothing was written then.
    """
    folder = output_folder(config)
    comparison = compare(config)
    written = _write(comparison, folder, config)
    try:
        print(f"{report(comparison, style='simple')}\n\n{written}", flush=True)
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return comparison


def compare(config: CompareConfig) -> Comparison:
    """Read and compare runs, without writing anything."""
    runs, notes = read_runs([Path(path) for path in config.runs])
    if not runs:
        raise ConfigError(f"runs: {', '.join(config.runs)}: no job has begun yet")
    metric = choose_metric(runs, config.metric, config.goal)
    others = [name for name in config.others if name != metric.name]
    for name in others:
        if name != "val/elbo":  # shown without being asked for, also before the first evaluation
            check_metric(runs, "others", name)
    grouping = group_runs(runs)
    rows = make_rows(grouping, metric, others)
    effects = main_effects(grouping, metric)
    return Comparison(runs, notes, grouping, metric, rows, effects, commands(runs))


def output_folder(config: CompareConfig) -> Path:
    """Return where the files go."""
    if config.output is not None:
        folder = Path(config.output)
    elif len(config.runs) == 1:
        folder = Path(config.runs[0]) / COMPARISON_FOLDER
    else:
        common = os.path.commonpath([Path(path).resolve() for path in config.runs])
        folder = Path(common) / COMPARISON_FOLDER
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output: must be a folder, got the file {folder}")
    return folder


# --- text -----------------------------------------------------------------------------------------


def report(comparison: Comparison, style: str) -> str:
    """Return the comparison as text: what was compared, the tables, and what is to be run.

    Args:
        comparison: the runs.
        style: of tabulate; "github" makes it Markdown.
    """
    metric, grouping = comparison.metric, comparison.grouping
    statuses = Counter(run.status for run in comparison.runs)
    counts = ", ".join(f"{number} {status}" for status, number in statuses.items())
    more = "more" if metric.goal == "max" else "less"
    parts = [
        f"{_count(len(comparison.runs), 'run')} in {_count(len(grouping.groups), 'setting')}: "
        f"{counts}.",
        f"By {metric.name}, {more} is better: the last value of finished runs, mean ± standard "
        "deviation over seeds, and the best on the way. Success: of the runs that finished or "
        "failed, those that finished with counts that have not collapsed.",
        settings_table(comparison.rows, style),
    ]
    if grouping.companions:
        parts.append(f"These change with the columns: {', '.join(grouping.companions)}.")
    if comparison.effects is not None:
        parts += ["Which settings matter:", _effects_table(comparison.effects, metric, style)]
    problems = problems_table(grouping, metric, style)
    if problems is not None:
        parts += [
            "Not finished, and so in no mean; or damaged; or with counts that have collapsed:",
            problems,
        ]
    parts += [f"{note}." for note in comparison.notes]
    if comparison.commands:
        text = "\n".join(comparison.commands)
        parts.append("To run just these; what is half trained resumes from its checkpoint:")
        parts.append(f"```bash\n{text}\n```" if style == "github" else text)
    return "\n\n".join(parts)


def _effects_table(effects: Effects, metric: Metric, style: str) -> str:
    table, places = [], decimals(effects.values.tolist())
    for effect in effects.effects:
        ranked = sorted(zip(effect.means.tolist(), effect.levels, strict=True), reverse=True)
        (best, at_best), *_, (worst, at_worst) = ranked if metric.goal == "max" else ranked[::-1]
        share = "changes with others" if effect.share is None else f"{effect.share:.0%}"
        table.append(
            [
                effect.name,
                share,
                f"{short(at_best)} ({best:.{places}f})",
                f"{short(at_worst)} ({worst:.{places}f})",
            ]
        )
    shares = [effect.share for effect in effects.effects]
    rest = 1 - sum(share or 0.0 for share in shares)
    if effects.seed_sd is not None:
        table.append(["seeds alone", f"{effects.seed_share:.0%}", "", ""])
        rest -= effects.seed_share
    if None not in shares:
        name = "settings together" if effects.seed_sd is not None else "all else"
        table.append([name, f"{max(0.0, rest):.0%}", "", ""])
    return format_table(table, ["setting", "of variance", "best (mean)", "worst (mean)"], style)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- files ----------------------------------------------------------------------------------------


def _write(comparison: Comparison, folder: Path, config: CompareConfig) -> str:
    """Write all files, those of an earlier comparison make way; return what was written."""
    make_folder(folder)
    names, effects = [comparison.metric.name, *config.others], comparison.effects
    texts = {
        "comparison.md": f"# Comparison\n\n{report(comparison, style='github')}\n",
        "settings.csv": settings_csv(comparison.rows),
        "runs.csv": runs_csv(comparison.grouping, comparison.metric, config.others),
    }
    figures = {
        "curves": draw_curves(comparison.rows, list(dict.fromkeys(names))),
        "effects": draw_effects(effects, comparison.metric) if effects else None,
    }
    drawn: list[Path] = []
    not_drawn = ""
    for name, figure in figures.items():
        for ending in ("png", "pdf"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
        if name in config.pictures:
            if figure is None:
                not_drawn += f"; {name}: not drawn, as there is nothing to tell yet"
            else:
                drawn += save_figure(figure, folder / name, config.formats)
    for file in drawn:
        if file.suffix == ".png":
            texts["comparison.md"] += f"\n![{file.stem}]({file.name})\n"
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    return f"Written to {folder}: {', '.join([*texts, *(file.name for file in drawn)])}{not_drawn}"
