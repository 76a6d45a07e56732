"""Functions with gradients of their own, called so that Pyro and PyTorch see through them."""

from __future__ import annotations

from typing import Any

import torch
from pyro.ops.provenance import detach_provenance, get_provenance, track_provenance
from torch import Tensor
from torch.autograd.function import Function


def followed(function: type[Function], *arguments: Any) -> Tensor:
    """Call a function with a gradient of its own.

    `TraceGraph_ELBO` follows tensors through PyTorch's operations, and is told of this one what it
    would have found. `torch.jit.trace` cannot hold it, and records the operations of its `forward`.

    Args:
        function: whose `forward` takes no context, and which has a `setup_context`.
        arguments: of `forward`.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        return function.forward(*arguments)
    result = function.apply(*(detach_provenance(argument) for argument in arguments))
    return track_provenance(result, get_provenance(arguments))
