"""How large a batch and a canvas a device can train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from air.benchmark.timing import interleaved
from air.benchmark.workloads import our_step
from air.cli.compose import compose_config
from air.training.run import choose_device

AXES: dict[str, tuple[int, ...]] = {
    "train.batch_size": (64, 1024, 4096, 16384, 65536, 262144),
    "data.canvas_size": (50, 100, 200, 400, 800, 1600),
}
_MANY = 1_000_000
_PATIENCE = 2.0  # seconds, for one step


@dataclass(frozen=True)
class LimitRow:
    """A step at one place of an axis.

    Attributes:
        axis: the configuration's key.
        value: of it.
        milliseconds: the median; None: memory was too small.
        images_per_second: likewise.
        peak_megabytes: of the device's memory; None: on a CPU, or too small.
    """

    axis: str
    value: int
    milliseconds: float | None
    images_per_second: float | None
    peak_megabytes: float | None


def measure_limits(
    overrides: Sequence[str] = (), axes: Mapping[str, Sequence[int]] = AXES, rounds: int = 3
) -> Iterator[LimitRow]:
    """Time ever larger steps, until memory or patience is at its end.

    Args:
        overrides: of the configuration whose step it is.
        axes: the places to try, by the configuration's key, from small to large.
        rounds: how often each is timed.
    """
    for axis, values in axes.items():
        for value in values:
            row = _measure(axis, value, overrides, rounds)
            yield row
            if row.milliseconds is None or row.milliseconds > 1e3 * _PATIENCE:
                break


def _measure(axis: str, value: int, overrides: Sequence[str], rounds: int) -> LimitRow:
    many = f"data.num_train={_MANY}"  # none is drawn for this, but a batch must not be larger
    config = compose_config((*overrides, many, f"{axis}={value}", "tracking=none"))
    on_gpu = choose_device(config).type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        timing = interleaved({axis: our_step(config)}, rounds, warmup=1)[axis]
    except torch.cuda.OutOfMemoryError:
        return LimitRow(axis, value, None, None, None)
    return LimitRow(
        axis=axis,
        value=value,
        milliseconds=1e3 * timing.median,
        images_per_second=config.train.batch_size / timing.median,
        peak_megabytes=torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
    )
