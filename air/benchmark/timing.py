"""Times of functions that take turns, so that a slow moment of the machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

import torch


@dataclass(frozen=True)
class Timing:
    """Times of one function, in seconds, in the order in which they were taken."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the times are below."""
        return median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the times are below the first, a quarter above the second."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        low, _, high = quantiles(self.seconds, method="inclusive")
        return low, high

    def ratio(self, other: Timing) -> float:
        """Return how many times longer this takes: the median over turns taken together."""
        return median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 3
) -> dict[str, Timing]:
    """Time functions in turns.

    Args:
        functions: by name.
        rounds: how often each is timed, at least 1.
        warmup: calls of each before, which are not timed.

    Returns:
        Each function's times, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(warmup):
            function()
    for _ in range(rounds):
        for name, function in functions.items():
            _wait_for_device()
            started = time.perf_counter()
            function()
            _wait_for_device()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


def _wait_for_device() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
