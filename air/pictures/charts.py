"""Charts of metrics: the confusion matrix, and how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from air.pictures.drawing import FONT_SIZE
from air.tracking.values import ConfusionMatrix

_BLUE, _ORANGE = "#0072B2", "#D55E00"


def draw_confusion(confusion: ConfusionMatrix) -> Figure:
    """Draw how often each true count was given each inferred count.

    Args:
        confusion: numbers of images; a row's shade is its share of that row.
    """
    counts = confusion.counts
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure = Figure(figsize=(0.8 * counts.shape[1] + 1, 0.8 * counts.shape[0] + 0.8))
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true in range(counts.shape[0]):
        for inferred in range(counts.shape[1]):
            axis.text(
                inferred,
                true,
                str(counts[true, inferred]),
                ha="center",
                va="center",
                fontsize=FONT_SIZE,
                color="white" if shares[true, inferred] > 0.5 else "black",
            )
    axis.set(xlabel="inferred count", ylabel="true count")
    axis.set_xticks(range(counts.shape[1]))
    axis.set_yticks(range(counts.shape[0]))
    return figure


def draw_training_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the ELBO, the terms it is made of, and the count accuracy over the iterations.

    Args:
        metrics: lines of `metrics.jsonl`.
    """
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    elbo_axis, terms_axis, accuracy_axis = figure.subplots(1, 3)
    _curve(elbo_axis, metrics, "train/elbo", "training", _BLUE)
    _curve(elbo_axis, metrics, "val/elbo", "held out", _ORANGE, marker="o")
    elbo_axis.set(ylabel="ELBO, nats an image")
    _from_the_rise(elbo_axis, metrics)
    for name, colour in zip(
        ("kl_pres", "kl_where", "kl_what"), ("#CC79A7", "#009E73", "#0072B2"), strict=True
    ):
        _curve(terms_axis, metrics, f"train/{name}", name.replace("kl_", "z_"), colour)
    terms_axis.set(ylabel="KL, nats an image")
    _curve(accuracy_axis, metrics, "val/count_accuracy", "held out", _ORANGE, marker="o")
    accuracy_axis.set(ylabel="count accuracy")
    accuracy_axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    if accuracy_axis.lines:
        accuracy_axis.set_ylim(bottom=min(accuracy_axis.lines[0].get_ydata()) - 0.01, top=1.0)
    else:
        accuracy_axis.text(
            0.5, 0.5, "the data has no counts", ha="center", transform=accuracy_axis.transAxes
        )
    last = max((line["iteration"] for line in metrics), default=0)
    for axis in (elbo_axis, terms_axis, accuracy_axis):
        axis.set(xlabel="iteration", xlim=(0, 1.03 * max(last, 1)))
        axis.grid(alpha=0.3)
        if axis.lines:  # above the panel, where no curve is
            axis.legend(
                fontsize=FONT_SIZE,
                loc="lower center",
                bbox_to_anchor=(0.5, 1.0),
                ncols=len(axis.lines),
                frameon=False,
                columnspacing=1.0,
                handlelength=1.2,
            )
    return figure


def _curve(
    axis: Axes,
    metrics: Sequence[Mapping[str, Any]],
    name: str,
    label: str,
    colour: str,
    marker: str | None = None,
) -> None:
    points = [(line["iteration"], line[name]) for line in metrics if line.get(name) is not None]
    if points:
        iterations, values = zip(*points, strict=True)
        axis.plot(
            iterations,
            values,
            label=label,
            color=colour,
            marker=marker,
            markersize=3,
            linewidth=1.2,
        )


def _from_the_rise(axis: Axes, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Cut off the steep beginning, which would flatten everything after it."""
    values = [line["train/elbo"] for line in metrics if line.get("train/elbo") is not None]
    late = values[len(values) // 4 :]
    if late and min(late) < max(late):
        room = 0.1 * (max(late) - min(late))
        axis.set_ylim(min(late) - room, max(late) + room)
