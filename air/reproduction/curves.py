"""Curves of a table's runs, over iterations and over time, from what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, PercentFormatter

from air.comparison.measures import spread
from air.pictures.colours import SERIES_COLOURS
from air.reproduction.archive import Archived

_FONT_SIZE = 8
_STYLES = ("-", "--", ":", "-.")  # one after the other, once the colours are used up


def draw_curves(runs: Sequence[Archived], metric: str, rows_by: str) -> Figure | None:
    """Draw a metric's mean over seeds, and one standard deviation around it.

    Args:
        runs: what is kept of them.
        metric: what is drawn.
        rows_by: keys of the settings, of which all values together have a row of panels; empty: one
            row.

    Returns:
        None if no run has the metric.
    """
    runs = [run for run in runs if any(metric in point for point in run.curves)]
    if not runs:
        return None
    keys = rows_by.split()
    values = [_row(run, keys) for run in runs]
    labels = [_label(run, runs, keys) for run in runs]
    rows = list(dict.fromkeys(values))
    handles: dict[str, Line2D] = {}
    figure = Figure(figsize=(9, 2.6 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False, sharex="col")
    for panels, value in zip(axes, rows, strict=True):
        for number, label in enumerate(dict.fromkeys(labels)):
            places = zip(runs, values, labels, strict=True)
            shown = [run for run, *place in places if place == [value, label]]
            if not shown:
                continue
            for axis, along in zip(panels, ("iteration", "seconds"), strict=True):
                handles[label] = _draw_mean(axis, shown, metric, along, label, number)
        panels[0].set_title(value, fontsize=_FONT_SIZE)
        panels[1].set_xscale("log")  # what takes seconds stands beside what takes an hour
        panels[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[1].xaxis.set_major_formatter("{x:g}")
        panels[1].xaxis.set_minor_formatter("")
        panels[0].set_ylabel(metric, fontsize=_FONT_SIZE)
        for axis in panels:
            axis.tick_params(labelsize=_FONT_SIZE)
            axis.grid(alpha=0.3)
            if "accuracy" in metric:
                axis.set_ylim(-0.02, 1.02)
                axis.yaxis.set_major_formatter(PercentFormatter(1))
    axes[-1][0].set_xlabel("iteration", fontsize=_FONT_SIZE)
    axes[-1][1].set_xlabel("seconds of training", fontsize=_FONT_SIZE)
    figure.legend(handles=list(handles.values()), loc="outside right upper", fontsize=_FONT_SIZE)
    return figure


def _row(run: Archived, keys: Sequence[str]) -> str:
    return " ".join(f"{key}={run.words[key]}" for key in keys if key in run.words)


def _label(run: Archived, runs: Sequence[Archived], left_out: Sequence[str]) -> str:
    """Return the words in which not all runs agree, by their last names."""
    words, others = run.words, [each.words for each in runs]
    told = [
        key
        for key in words
        if key not in left_out and any(each.get(key) != words[key] for each in others)
    ]
    return ", ".join(f"{key.rpartition('.')[2]}={words[key]}" for key in told) or "all runs"


def _draw_mean(
    axis: Axes, runs: Sequence[Archived], metric: str, along: str, label: str, number: int
) -> Line2D:
    points: dict[float, list[tuple[float, float]]] = {}
    for run in runs:
        for point in run.curves:
            if metric in point:
                points.setdefault(point["iteration"], []).append((point[along], point[metric]))
    places = np.array([np.mean([place for place, _ in each]) for each in points.values()])
    spreads = [spread([value for _, value in each]) for each in points.values()]
    means = np.array([each.mean for each in spreads], dtype=float)
    sds = np.array([each.sd or 0.0 for each in spreads])
    colour = SERIES_COLOURS[number % len(SERIES_COLOURS)]
    style = _STYLES[number // len(SERIES_COLOURS) % len(_STYLES)]
    (line,) = axis.plot(places, means, color=colour, linestyle=style, linewidth=1.2, label=label)
    axis.fill_between(places, means - sds, means + sds, color=colour, alpha=0.12, linewidth=0)
    return line
