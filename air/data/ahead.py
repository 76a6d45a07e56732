"""Batches that are read while the steps before them run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from air.data.scenes import BatchIndices

_AHEAD = 2  # batches: a disk is slow now and then


class ReadAhead:
    """The images of an iteration, read in a thread while the steps before it run.

    Args:
        read: indices (batch_size,) -> images; called in the thread, one batch after the other.
        indices: iteration -> which images it sees.
    """

    def __init__(self, read: Callable[[Tensor], Tensor], indices: BatchIndices) -> None:
        self._read = read
        self._indices = indices
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: dict[int, Future[Tensor]] = {}

    def __call__(self, iteration: int) -> Tensor:
        """Return the images of an iteration; errors of reading them are raised here too."""
        soon = range(iteration, iteration + 1 + _AHEAD)
        self._coming = {i: self._coming.get(i) or self._start(i) for i in soon}
        return self._coming.pop(iteration).result()

    def _start(self, iteration: int) -> Future[Tensor]:
        return self._thread.submit(self._read, self._indices(iteration))
