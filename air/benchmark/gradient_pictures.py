"""The picture of gradients: variance against time, which together say what a step is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from air.benchmark.gradient_noise import NoiseRow
from air.pictures.colours import SERIES_COLOURS
from air.pictures.drawing import FONT_SIZE

_SIZE = 3.2  # inches, of a panel
_MARKERS = "os^Dv"


def draw_noise(rows: Sequence[NoiseRow]) -> Figure:
    """Draw each estimator's variance against its time, a panel for each checkpoint.

    Averaging gradients takes an estimator down its line, on which variance times time is the same:
    the lower line is the better estimator. A ring stands for one that is off the ELBO's gradient by
    more than the draws can tell, by twice the error.

    Args:
        rows: of all checkpoints.
    """
    places = list(dict.fromkeys(row.at for row in rows))
    figure = Figure(figsize=(_SIZE * len(places) + 1.5, _SIZE), layout="constrained")
    axes = figure.subplots(1, len(places), squeeze=False, sharex=True, sharey=True)[0]
    names = list(dict.fromkeys(row.estimator for row in rows))
    times = [row.milliseconds for row in rows]
    ends = np.array([min(times) / 1.5, max(times) * 1.5])
    for axis, place in zip(axes, places, strict=True):
        for row in rows:
            if row.at == place:
                _draw_estimator(axis, row, names.index(row.estimator), ends)
        axis.set(xscale="log", yscale="log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("milliseconds a gradient", fontsize=FONT_SIZE)
        axis.set_title(place, fontsize=FONT_SIZE)
        axis.tick_params(which="both", labelsize=FONT_SIZE)
    axes[0].set_ylabel("variance / squared length, of the guide", fontsize=FONT_SIZE)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=FONT_SIZE)
    return figure


def _draw_estimator(axis: Axes, row: NoiseRow, number: int, ends: np.ndarray) -> None:
    colour = SERIES_COLOURS[number % len(SERIES_COLOURS)]
    off = row.guide_off > 2 * row.guide_error
    axis.plot(
        row.milliseconds,
        row.guide_variance,
        marker=_MARKERS[number // len(SERIES_COLOURS) % len(_MARKERS)],
        markerfacecolor="none" if off else colour,
        color=colour,
        linestyle="none",
        label=row.estimator,
    )
    axis.plot(
        ends, row.milliseconds * row.guide_variance / ends, color=colour, linewidth=0.5, alpha=0.5
    )
