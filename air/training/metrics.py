"""What training did between two lines of its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch
from torch import Tensor


class Totals:
    """Sums of the objective's metrics since they were last taken, and how fast they came."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.iterations = 0
        self.start_clock()

    def start_clock(self) -> None:
        """Take the time from now on."""
        self._timed = 0  # iterations since
        self._since = time.perf_counter()

    def restore(self, sums: dict[str, Tensor], iterations: int, device: torch.device) -> None:
        """Continue with the sums of a checkpoint."""
        self.sums, self.iterations = {n: v.to(device) for n, v in sums.items()}, iterations

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Add the metrics of one batch, each a scalar, summed over images."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.iterations += 1
        self._timed += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside the block: it is not spent on training."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started

    def take(self, batch_size: int) -> dict[str, float]:
        """Return means per image, in nats, and steps per second; start again."""
        images = self.iterations * batch_size
        seconds = time.perf_counter() - self._since
        metrics = {
            **{f"train/{name}": value.item() / images for name, value in self.sums.items()},
            "time/steps_per_second": self._timed / max(seconds, 1e-9),
        }
        self.sums, self.iterations = {}, 0
        self.start_clock()
        return metrics
