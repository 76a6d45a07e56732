"""Progress on the console: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)


class Progress:
    """Shows how far training is, with metrics and the time left.

    Args:
        total: iterations in all.
        initial: iterations done before.
        shown: whether this process has the console.
    """

    def __init__(self, total: int, initial: int = 0, shown: bool = True) -> None:
        self._shown = shown
        self._total = total
        self._begin = initial, time.perf_counter()
        # The first iteration records the step, or compiles it, and says nothing about the others.
        self._first: tuple[int, float] | None = None
        self._metrics: dict[str, float] = {}
        self._on_exit = contextlib.ExitStack()
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            bar: tqdm[NoReturn] = tqdm(
                total=self._total, initial=self._begin[0], unit="it", dynamic_ncols=True
            )
            self._bar = self._on_exit.enter_context(bar)
            self._on_exit.enter_context(logging_redirect_tqdm())  # log lines go above the bar
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._on_exit.close()

    def advance(self, iteration: int) -> None:
        """Count one more iteration."""
        self._first = self._first or (iteration, time.perf_counter())
        if self._bar is not None:
            self._bar.update(iteration - self._bar.n)

    def show(self, iteration: int, **metrics: float) -> None:
        """Show metrics, beside earlier ones that are not given again."""
        self._metrics |= metrics
        text = ", ".join(f"{name} {value:.4g}" for name, value in self._metrics.items())
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            return
        if not self._shown:
            return
        since = self._first if self._first and iteration > self._first[0] else self._begin
        speed = max(iteration - since[0], 1) / max(time.perf_counter() - since[1], 1e-9)
        left = tqdm.format_interval(round((self._total - iteration) / speed))
        log.info(
            "iteration %d/%d: %s, %.1f it/s, %s left", iteration, self._total, text, speed, left
        )
