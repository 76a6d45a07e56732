"""One comparison from its configuration: read the folders, print, draw and write."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from air.comparison.effects import Effects, main_effects
from air.comparison.figures import Metric, check_metric, choose_metric
from air.comparison.pictures import draw_curves, draw_effects
from air.comparison.reading import Run, read_runs
from air.comparison.settings import Grouping, group_runs
from air.comparison.table import (
    Row,
    format_table,
    make_rows,
    runs_csv,
    settings_csv,
    settings_table,
    unfinished_table,
)
from air.comparison.unfinished import SCRIPT, command, script, unfinished
from air.config.compare import CompareConfig
from air.errors import ConfigError
from air.figure_files import save_figure

log = logging.getLogger(__name__)

FOLDER = "comparison"
_MAX_COMMANDS = 10  # on the terminal; the script has all


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
    """

    runs: list[Run]
    notes: list[str]
    grouping: Grouping
    metric: Metric
    rows: list[Row]
    effects: Effects | None


def compare_runs(config: CompareConfig) -> Comparison:
    """Compare runs: print the table and the commands that are to be run, write files.

    Args:
        config: which runs, by which metric, and where the files go.

    Raises:
        AIRError: the folders hold no runs, or a setting cannot be used; nothing was written then.
    """
    folder = output_folder(config)
    comparison = compare(config)
    print(report(comparison, style="simple"))
    files = _write(comparison, folder, config)
    log.info("\n%d files in %s: %s", len(files), folder, ", ".join(file.name for file in files))
    return comparison


def compare(config: CompareConfig) -> Comparison:
    """Read and compare runs, without writing anything."""
    runs, notes = read_runs([Path(path) for path in config.runs])
    metric = choose_metric(runs, config.metric, config.goal)
    others = [name for name in config.others if name != metric.name]
    for name in others:
        if name != "val/elbo":  # shown without being asked for, also before the first look
            check_metric(runs, "others", name)
    grouping = group_runs(runs)
    rows = make_rows(grouping, metric, others)
    return Comparison(runs, notes, grouping, metric, rows, main_effects(grouping, metric))


def output_folder(config: CompareConfig) -> Path:
    """Return where the files go."""
    if config.output is not None:
        folder = Path(config.output)
    elif len(config.runs) == 1:
        folder = Path(config.runs[0]) / FOLDER
    else:
        folder = Path(os.path.commonpath([Path(path).resolve() for path in config.runs])) / FOLDER
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
        "deviation over seeds, and the best on the way.",
        settings_table(comparison.rows, style),
    ]
    if grouping.companions:
        parts.append(f"These change with the columns: {', '.join(grouping.companions)}.")
    if comparison.effects is not None:
        parts += ["Which settings matter:", _effects_table(comparison.effects, metric, style)]
    not_finished = unfinished_table(grouping, metric, style)
    if not_finished is not None:
        parts += ["Not finished, and so in no mean:", not_finished]
    parts += [f"{note}." for note in comparison.notes]
    parts += _commands(comparison.runs, fenced=style == "github")
    return "\n\n".join(parts)


def _commands(runs: Sequence[Run], fenced: bool) -> list[str]:
    lines = [command(run) for run in unfinished(runs)]
    if not lines:
        return []
    title = "To finish them (a half-trained run goes on from its checkpoint)"
    if any(run.status == "running" for run in runs):
        title += "; others still run, so look first whether a launcher will start them"
    if len(lines) > _MAX_COMMANDS and not fenced:
        rest = len(lines) - _MAX_COMMANDS
        lines = [*lines[:_MAX_COMMANDS], f"… and {rest} more in {SCRIPT}"]
    text = "\n".join(lines)
    return [f"{title}:", f"```bash\n{text}\n```" if fenced else text]


def _effects_table(effects: Effects, metric: Metric, style: str) -> str:
    table = []
    for effect in effects.effects:
        ranked = sorted(zip(effect.means.tolist(), effect.levels, strict=True), reverse=True)
        (best, at_best), *_, (worst, at_worst) = ranked if metric.goal == "max" else ranked[::-1]
        share = "changes with others" if effect.share is None else f"{effect.share:.0%}"
        table.append(
            [
                effect.name,
                share,
                f"{at_best} ({best:.4g})",
                f"{at_worst} ({worst:.4g})",
            ]
        )
    table.append(["seeds", f"{effects.seed_share:.0%}", "", ""])
    shares = [effect.share for effect in effects.effects]
    if all(share is not None for share in shares):
        rest = max(0.0, 1 - effects.seed_share - sum(share or 0.0 for share in shares))
        if len(shares) > 1:
            table.append(["together only", f"{rest:.0%}", "", ""])
    return format_table(table, ["setting", "of variance", "best (mean)", "worst (mean)"], style)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- files ----------------------------------------------------------------------------------------


def _write(comparison: Comparison, folder: Path, config: CompareConfig) -> list[Path]:
    """Write all files, each whole or not at all; those of an earlier comparison make way."""
    folder.mkdir(parents=True, exist_ok=True)
    names, effects = [comparison.metric.name, *config.others], comparison.effects
    texts = {
        "comparison.md": f"# Comparison\n\n{report(comparison, style='github')}\n",
        "settings.csv": settings_csv(comparison.rows),
        "runs.csv": runs_csv(comparison.grouping, comparison.metric, config.others),
    }
    if unfinished(comparison.runs):
        texts[SCRIPT] = script(comparison.runs)
    else:
        (folder / SCRIPT).unlink(missing_ok=True)
    figures = {
        "curves": draw_curves(comparison.rows, list(dict.fromkeys(names))),
        "effects": draw_effects(effects, comparison.metric) if effects else None,
    }
    files = []
    for name, figure in figures.items():
        for ending in ("png", "pdf"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
        if name in config.pictures:
            if figure is None:
                log.info("%s: not drawn: there is nothing to tell yet", name)
            else:
                files += save_figure(figure, folder / name, config.formats)
    pictures = [file.name for file in files if file.suffix == ".png"]
    texts["comparison.md"] += "".join(f"\n![{name[:-4]}]({name})\n" for name in pictures)
    for name, text in texts.items():
        temporary = folder / f"{name}.partial"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / name)
    return [*(folder / name for name in texts), *files]
