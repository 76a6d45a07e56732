"""The comparison in pictures: curves with bands over seeds, and the effect of each setting."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from air.comparison.effects import Effect, Effects
from air.comparison.measures import Metric, curve, spread
from air.comparison.reading import Run
from air.comparison.settings import short
from air.comparison.table import Row
from air.pictures.colours import SERIES_COLOURS

_FONT_SIZE = 8
_GREY = "0.8"
_LABEL_WIDTH = 58  # characters under a panel


def draw_curves(rows: Sequence[Row], names: Sequence[str]) -> Figure | None:
    """Draw metrics over the iterations: the mean over seeds, and one standard deviation around it.

    The best settings have colours, all further ones are grey. Every run counts, finished or not; a
    curve is dotted where it is the mean of some of the runs only, because others end earlier.

    Args:
        rows: settings, the best first.
        names: of the metrics, a panel for each that there is.

    Returns:
        None if no run has any of the metrics.
    """
    known = [name for name in names if any(_points(row, name) for row in rows)]
    if not known:
        return None
    coloured, grey = rows[: len(SERIES_COLOURS)], rows[len(SERIES_COLOURS) :]
    labels = [
        textwrap.fill(label, _LABEL_WIDTH * len(known), subsequent_indent="  ")
        for label in _labels(coloured, known)
    ]
    lines = "\n".join(labels).count("\n") + 1
    figure = Figure(figsize=(4.4 * len(known), 3.8 + 0.17 * lines), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        for row in reversed(grey):
            _draw_curve(axis, _points(row, name), len(row.group.runs), _GREY, band=False)
        for row, colour in reversed(list(zip(coloured, SERIES_COLOURS, strict=False))):
            _draw_curve(axis, _points(row, name), len(row.group.runs), colour, band=True)
        axis.set(xlabel="iteration", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _format_values(axis, name)
        _leave_out_the_beginning(axis)
        axis.grid(alpha=0.3)
    handles = [
        Line2D([], [], color=colour, label=label)
        for label, colour in zip(labels, SERIES_COLOURS, strict=False)
    ]
    if grey:
        label = "one more setting" if len(grey) == 1 else f"the other {len(grey)} settings"
        handles.append(Line2D([], [], color=_GREY, label=label))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        fontsize=_FONT_SIZE,
        title="mean over seeds ± one standard deviation\n"
        "best first (number of runs); dotted where some have ended",
        title_fontsize=_FONT_SIZE,
        frameon=False,
    )
    return figure


def _points(row: Row, name: str) -> list[tuple[int, list[float]]]:
    """Return the iterations at which a metric was logged, with the values of all runs."""
    values: dict[int, list[float]] = {}
    for run in row.group.runs:
        for iteration, value in _last_of_each(run, name).items():
            values.setdefault(iteration, []).append(value)
    return sorted(values.items())


def _last_of_each(run: Run, name: str) -> dict[int, float]:
    return {iteration: value for iteration, value in curve(run, name) if math.isfinite(value)}


def _draw_curve(
    axis: Axes, points: Sequence[tuple[int, list[float]]], num_runs: int, colour: str, band: bool
) -> None:
    """Draw one setting's curve; dotted where fewer of its runs have values than elsewhere."""
    if not points:
        return
    iterations = np.array([iteration for iteration, _ in points])
    spreads = [spread(values) for _, values in points]
    means = np.array([each.mean for each in spreads], dtype=float)
    most = max(len(values) for _, values in points)
    whole = np.array([len(values) == most for _, values in points])
    marker = "o" if len(points) < 30 else None
    axis.plot(iterations, means, color=colour, linewidth=1, linestyle=":", marker=marker, ms=2)
    axis.plot(iterations, np.where(whole, means, np.nan), color=colour, linewidth=1.5)
    if band:
        sds = np.array([each.sd or 0.0 for each in spreads])
        axis.fill_between(
            iterations, means - sds, means + sds, color=colour, alpha=0.18, linewidth=0
        )


def _leave_out_the_beginning(axis: Axes) -> None:
    """Cut off the steep beginning, which would flatten everything after it."""
    lines = [np.asarray(line.get_xydata()) for line in axis.lines]
    bands = [np.asarray(path.vertices) for band in axis.collections for path in band.get_paths()]
    end = max(float(line[:, 0].max()) for line in lines)
    late = np.concatenate([drawn[drawn[:, 0] >= end / 2, 1] for drawn in [*lines, *bands]])
    late = late[np.isfinite(late)]
    if len(late) and np.ptp(late) > 0:
        room = 0.1 * np.ptp(late)
        bottom, top = late.min() - room, late.max() + room
        axis.set_ylim(bottom, top)
        points = np.concatenate(lines)
        seen = points[(points[:, 1] >= bottom) & (points[:, 1] <= top), 0].min()
        axis.set_xlim(left=max(0.0, seen - 0.1 * end))


# --- effects --------------------------------------------------------------------------------------


def draw_effects(effects: Effects, metric: Metric) -> Figure:
    """Draw what each setting does to a metric: every run, and the mean of each value.

    Args:
        effects: of the settings, the largest first.
        metric: what is drawn.
    """
    sizes = [max(2, len(effect.levels)) for effect in effects.effects]
    figure = Figure(figsize=(1.2 + sum(0.55 * size + 0.5 for size in sizes), 3.4))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(
        1, len(sizes), sharey=True, squeeze=False, gridspec_kw={"width_ratios": sizes}
    )[0]
    for axis, effect in zip(axes, effects.effects, strict=True):
        _draw_effect(axis, effect, effects)
    axes[0].set_ylabel(metric.name)
    _format_values(axes[0], metric.name)
    legend = "grey: runs; blue: means, all else equal"
    if effects.seed_sd is not None:
        legend += "; band: ± one standard deviation over seeds"
    figure.supxlabel(legend, fontsize=_FONT_SIZE)
    return figure


def _draw_effect(axis: Axes, effect: Effect, effects: Effects) -> None:
    if effects.seed_sd is not None:
        middle = effects.values.mean()
        axis.axhspan(
            middle - effects.seed_sd, middle + effects.seed_sd, color="0.92", linewidth=0, zorder=0
        )
    places = np.arange(len(effect.levels))
    # Side by side, so that equal values stay apart; the same in every picture.
    aside = 0.3 * ((np.arange(len(effects.values)) * 0.618) % 1 - 0.5)
    axis.scatter(effect.level + aside, effects.values, s=9, color="0.6", linewidths=0, zorder=2)
    axis.plot(places, effect.means, color=SERIES_COLOURS[0], marker="o", ms=5, zorder=3)
    levels = [short(level) for level in effect.levels]
    axis.set_xticks(places, levels, fontsize=_FONT_SIZE)
    if max(len(level) for level in levels) > 7:
        axis.tick_params("x", rotation=30)
    axis.set_xlim(-0.6, max(1, len(effect.levels) - 1) + 0.6)
    share = "changes with others" if effect.share is None else f"{effect.share:.0%} of variance"
    axis.set_title(f"{effect.name}\n{share}", fontsize=_FONT_SIZE)
    axis.grid(alpha=0.3, axis="y")


def _format_values(axis: Axes, name: str) -> None:
    if name.endswith("accuracy"):
        axis.yaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 9):g} %")
    axis.yaxis.set_major_locator(MaxNLocator(6))


def _labels(rows: Sequence[Row], known: Sequence[str]) -> list[str]:
    """Return what sets each row apart, with the last part of a key where that says which it is."""
    cells = [row.group.cells for row in rows]
    keys = [key for key in cells[0] if len(rows) == 1 or len({each[key] for each in cells}) > 1]
    ends = [key.rpartition(".")[2] for key in keys]
    shown = [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]
    labels = []
    for row in rows:
        values = (short(row.group.cells[key]) for key in keys)
        pairs = zip(shown, values, strict=True)
        text = ", ".join(f"{name}={value}" for name, value in pairs) or "all runs"
        logged = any(_points(row, name) for name in known)
        labels.append(f"{text}  ({len(row.group.runs)}{'' if logged else ', nothing logged'})")
    return labels
