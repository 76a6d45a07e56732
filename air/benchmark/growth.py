"""How a step's time and memory grow with the number of steps, the canvas and the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from air.benchmark.cost import measure_cost
from air.benchmark.timing import interleaved
from air.benchmark.workloads import our_step
from air.cli.compose import compose_config

AXES: dict[str, tuple[int, ...]] = {
    "model.num_steps": (1, 2, 3, 6, 9, 12),
    "data.canvas_size": (50, 75, 100, 150, 200),
    "train.batch_size": (16, 32, 64, 128, 256, 512),
}


@dataclass(frozen=True)
class GrowthRow:
    """A step at one place of an axis.

    Attributes:
        axis: the configuration's key.
        value: of it.
        milliseconds: the median.
        peak_megabytes: the most that the step's own tensors held at one time.
        size_ratio: how many times more work there is to do than at the axis' first place: objects,
            pixels or images.
        time_ratio: how many times longer it takes.
        memory_ratio: how many times more memory it takes.
    """

    axis: str
    value: int
    milliseconds: float
    peak_megabytes: float
    size_ratio: float
    time_ratio: float
    memory_ratio: float


def measure_growth(
    rounds: int,
    overrides: Sequence[str] = (),
    axes: Mapping[str, Sequence[int]] = AXES,
) -> list[GrowthRow]:
    """Time a step along every axis, the places of an axis taking turns.

    Args:
        rounds: how often each place is timed.
        overrides: of the configuration whose step it is.
        axes: the places, by the configuration's key.
    """
    rows = []
    for axis, values in axes.items():
        steps = {
            str(value): our_step(compose_config((*overrides, f"{axis}={value}")))
            for value in values
        }
        times = interleaved(steps, rounds)
        memory = [measure_cost(step).peak_bytes for step in steps.values()]
        first = times[str(values[0])]
        for value, timing, peak_bytes in zip(values, times.values(), memory, strict=True):
            ratio = value / values[0]
            rows.append(
                GrowthRow(
                    axis=axis,
                    value=value,
                    milliseconds=1e3 * timing.median,
                    peak_megabytes=peak_bytes / 1e6,
                    size_ratio=ratio**2 if axis == "data.canvas_size" else ratio,
                    time_ratio=timing.ratio(first),
                    memory_ratio=peak_bytes / memory[0],
                )
            )
    return rows
