"""What training did between two lines of its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from torch import Tensor

from air.inference.estimator import elbo_of


class Totals:
    """Sums of the objective's parts since they were last taken, and how fast they came."""

    def __init__(self) -> None:
        self.parts: dict[str, Tensor] = {}
        self._iterations = 0
        self._since = time.perf_counter()

    def add(self, parts: dict[str, Tensor]) -> None:
        """Add the parts of one batch, each a scalar, summed over images."""
        for name, value in parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value
        self._iterations += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside the block: it is not spent on training."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started

    def take(self, batch_size: int) -> dict[str, float]:
        """Return means per image, in nats, and steps per second; start again."""
        images = self._iterations * batch_size
        elbo = elbo_of(self.parts).item() / images
        now = time.perf_counter()
        figures = {
            "train/loss": -elbo,
            "train/elbo": elbo,
            **{f"train/{name}": value.item() / images for name, value in self.parts.items()},
            "time/steps_per_second": self._iterations / max(now - self._since, 1e-9),
        }
        self.parts, self._iterations, self._since = {}, 0, now
        return figures
