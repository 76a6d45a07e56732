"""Products with images that are mostly black, as scenes of digits are."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

_aten = torch.ops.aten
_SAME_PIXELS = (  # in another shape, without a graph or, as a plate takes them, by their index
    _aten.view.default,
    _aten._unsafe_view.default,
    _aten.unsqueeze.default,
    _aten.alias.default,
    _aten.detach.default,
    _aten.index.Tensor,
)
_CONTIGUOUS: dict[str, Any] = {"memory_format": torch.contiguous_format}

# Below this share of pixels that are not 0 it pays to look for them: on two CPU cores a product and
# its gradient take a quarter of the time at 0.05, as long as dense ones at 0.2.
MOSTLY_ZERO = 0.125


def is_mostly_black(images: Tensor) -> bool:
    """Return whether products with such images, on the CPU, had better skip what is 0."""
    return images.count_nonzero().item() < MOSTLY_ZERO * images.numel()


def skip_black_pixels(recording: GraphModule, batch_position: int) -> None:
    """Take products with the batch's own pixels in time proportional to how many are not 0.

    These are the largest products where an LSTM sees the pixels themselves: of a batch with the
    weights and, backwards, with the gradient of the result. Results are the same but for rounding.

    Args:
        recording: of a step, on the CPU; changed in place; to be recompiled.
        batch_position: of the batch among its inputs.
    """
    graph = recording.graph
    batch = graph.find_nodes(op="placeholder")[batch_position]
    pixels = {batch}
    transposed: set[Node] = set()
    for node in list(graph.nodes):
        source = node.args[0] if node.args else None
        if not isinstance(source, Node):
            continue
        if node.target in _SAME_PIXELS and source in pixels:
            pixels.add(node)
        elif node.target is _aten.t.default and source in pixels:
            transposed.add(node)
        elif node.target is _aten.mm.default and source in pixels:
            _exchange(graph, node, source)
        elif node.target is _aten.mm.default and source in transposed:
            with graph.inserting_before(node):
                turned = graph.call_function(_aten.clone.default, (source,), _CONTIGUOUS)
            _exchange(graph, node, turned)
    graph.eliminate_dead_code()


def _exchange(graph: Graph, product: Node, rows: Node) -> None:
    with graph.inserting_before(product):
        found = graph.call_function(torch.ops.air.find_nonzero.default, (rows,))
        parts = [graph.call_function(operator.getitem, (found, i)) for i in range(3)]
        sums = graph.call_function(torch.ops.air.weighted_sums.default, (*parts, product.args[1]))
    sums.meta = product.meta
    product.replace_all_uses_with(sums)


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
