"""Products with images that are mostly black, as scenes of digits are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Below this share of pixels that are not 0 it pays to look for them: on two CPU cores a product and
# its gradient take a quarter of the time at 0.05, as long as dense ones at 0.2.
MOSTLY_ZERO = 0.125


def is_mostly_zero(images: Tensor) -> bool:
    """Return whether products with such images, on the CPU, had better skip what is 0."""
    return images.count_nonzero().item() < MOSTLY_ZERO * images.numel()


def sparse_product(rows: Tensor, weights: Tensor) -> Tensor:
    """Return `rows @ weights` in time proportional to how many of the rows' entries are not 0.

    Args:
        rows: (N, P), on the CPU.
        weights: (P, H).

    Returns:
        (N, H), equal to the dense product but for rounding, and so are its gradients.
    """
    return _SparseProduct.apply(rows, weights)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the product: (N, P), (P, H) -> (N, H)."""
        ctx.save_for_backward(rows, weights)
        return _weighted_sums(*_find_nonzero(rows), weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of the rows, which has no zeros to skip, and of the weights."""
        rows, weights = ctx.saved_tensors
        grad_rows = grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_rows = grad @ weights.mT
        if ctx.needs_input_grad[1]:
            grad_weights = _weighted_sums(*_find_nonzero(rows.mT.contiguous()), grad)
        return grad_rows, grad_weights


# How many entries are not 0 differs from batch to batch. Inside these two operations it may; what
# they return always has the same shapes, so that a step can be recorded and compiled.


@torch.library.custom_op("air::find_nonzero", mutates_args=())
def _find_nonzero(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the entries of (M, K) that are not 0, row by row.

    Returns:
        Their columns and their values, (M K,) each, of which only as many are filled as there are;
        and where each row starts among them, (M + 1,), ending with their number.
    """
    entries = rows.flatten()
    places = entries.nonzero().squeeze(1)
    columns, values = torch.empty_like(entries, dtype=torch.int64), torch.empty_like(entries)
    columns[: len(places)] = places % rows.shape[1]
    values[: len(places)] = entries[places]
    starts = torch.arange(0, len(entries) + 1, rows.shape[1])
    return columns, values, torch.searchsorted(places, starts)


@_find_nonzero.register_fake
def _(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    columns = rows.new_empty(rows.numel(), dtype=torch.int64)
    return columns, rows.new_empty(rows.numel()), columns.new_empty(rows.shape[0] + 1)


@torch.library.custom_op("air::weighted_sums", mutates_args=())
def _weighted_sums(columns: Tensor, values: Tensor, starts: Tensor, vectors: Tensor) -> Tensor:
    """Return `rows @ vectors`, (M, K) and (K, H): for each row the vectors it has a factor of."""
    num_entries = starts[-1]
    return torch.embedding_bag(
        vectors.detach().contiguous(),  # of parameters it would prepare a gradient
        columns[:num_entries],
        starts,
        mode=0,  # sums
        per_sample_weights=values[:num_entries],
        include_last_offset=True,
    )[0]


@_weighted_sums.register_fake
def _(columns: Tensor, values: Tensor, starts: Tensor, vectors: Tensor) -> Tensor:
    return vectors.new_empty(starts.shape[0] - 1, vectors.shape[1])
