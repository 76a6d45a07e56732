"""What a function costs on any machine: operations, bytes, memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

import air.acceleration.black_pixels  # noqa: F401 (has the operation that is counted here)


@dataclass(frozen=True)
class Cost:
    """Operations and memory of one call.

    Attributes:
        flops: floating-point operations of matrix products and convolutions; what skips zeros is
            counted without them.
        bytes: read and written by all tensor operations; caches are not taken into account.
        peak_bytes: the most memory that the call's own tensors held at one time.
    """

    flops: int
    bytes: int
    peak_bytes: int


@register_flop_formula(torch.ops.air.weighted_sums, get_raw=True)
def _flops_of_weighted_sums(
    columns: Tensor, values: Tensor, starts: Tensor, vectors: Tensor, **_: Any
) -> int:
    return 2 * int(starts[-1]) * vectors.shape[1]


def measure_cost(function: Callable[[], object]) -> Cost:
    """Run a function once and count."""
    traffic = _Traffic()
    counter = FlopCounterMode(display=False)
    with counter, traffic:
        function()
    return Cost(counter.get_total_flops(), traffic.bytes, traffic.peak_bytes)


class _Traffic(TorchDispatchMode):
    """Adds up what every operation reads and writes, and follows the storages that it creates."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.peak_bytes = 0
        self._live_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for tensor in inputs:
            self._known.add(_storage_id(tensor))  # existed before, or has been counted
        result = func(*args, **(kwargs or {}))
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not func.is_view:
            written = outputs or inputs[:1]
            self.bytes += sum(tensor.nbytes for tensor in inputs + written)
        for tensor in outputs:
            self._follow(tensor)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage, identity = tensor.untyped_storage(), _storage_id(tensor)
        if identity in self._known:
            return
        self._known.add(identity)
        size = storage.nbytes()
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._release, identity, size)

    def _release(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self._live_bytes -= size


def _storage_id(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
