"""What training did between two lines of its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from air.inference.estimator import elbo_of


class Totals:
    """Sums of the objective's parts since they were last taken, and how fast they came."""

    def __init__(self) -> None:
        self.parts: dict[str, Tensor] = {}
        self.iterations = 0
        self.start_clock()

    def start_clock(self) -> None:
        """Take the time from now on."""
        self._timed = 0  # iterations since
        self._since = time.perf_counter()

    def restore(self, parts: dict[str, Tensor], iterations: int, device: torch.device) -> None:
        """Go on with the sums of a checkpoint."""
        self.parts, self.iterations = {n: v.to(device) for n, v in parts.items()}, iterations

    def add(self, parts: dict[str, Tensor]) -> None:
        """Add the parts of one batch, each a scalar, summed over images."""
        for name, value in parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value
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
        elbo = elbo_of(self.parts).item() / images
        seconds = time.perf_counter() - self._since
        figures = {
            "train/loss": -elbo,
            "train/elbo": elbo,
            **{f"train/{name}": value.item() / images for name, value in self.parts.items()},
            "time/steps_per_second": self._timed / max(seconds, 1e-9),
        }
        self.parts, self.iterations = {}, 0
        self.start_clock()
        return figures
