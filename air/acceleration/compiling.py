"""A recorded step as machine code of its own, by TorchInductor."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule, Node

_aten = torch.ops.aten

log = logging.getLogger(__name__)


def missing_for_compiling() -> str | None:
    """Return what this machine lacks to compile a step, in words, or None."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"a C++ compiler ({compiler}; the environment variable CXX may name another)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers (Python.h; in Debian's package python3-dev)"
    return None


def compile_recording(recording: GraphModule) -> Callable[..., Any]:
    """Return what does the same as a recording, where small operations are one loop.

    The first call compiles: tens of seconds, a third of it where PyTorch's cache has the result.
    Random numbers stay the recording's own, and results the same but for rounding.

    Args:
        recording: of PyTorch's operations, for inputs of one shape; changed in place.
    """
    join_products(recording)
    recording.recompile()
    # It warns that there is no CUDA, which is the reason for compiling.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    log.info("compiling the step, which takes about a minute, and less the next time")
    return torch.compile(
        recording,
        fullgraph=True,
        dynamic=False,
        # Random numbers of PyTorch's own, and calls from C++, which take less time than Python's.
        options={"fallback_random": True, "cpp_wrapper": True},
    )


def join_products(recording: GraphModule) -> None:
    """Take a result that is a sum of products as one product: Σ Aᵢᵀ Bᵢ = [A₁; A₂; …]ᵀ [B₁; B₂; …].

    Gradients of weights that several steps use are such sums, of narrow products. Their factors are
    what autograd saved, which nothing writes to afterwards.

    Args:
        recording: changed in place; to be recompiled.
    """
    graph = recording.graph
    (output,) = graph.find_nodes(op="output")
    for result in output.all_input_nodes:
        terms = _terms(result)
        shape = result.meta["val"].shape
        if len(terms) == 1 or not all(_has_transposed_factor(term, shape) for term in terms):
            continue
        with graph.inserting_before(output):
            a = graph.call_function(_aten.cat.default, ([term.args[0].args[0] for term in terms],))
            b = graph.call_function(_aten.cat.default, ([term.args[1] for term in terms],))
            transposed = graph.call_function(_aten.t.default, (a,))
            product = graph.call_function(_aten.mm.default, (transposed, b))
        output.replace_input_with(result, product)
    graph.eliminate_dead_code()


def _terms(node: Any) -> list[Any]:
    """Return what a node is the sum of; two transpositions in a row change nothing."""
    if _calls(node, _aten.add.Tensor) and not node.kwargs:
        return [term for argument in node.args for term in _terms(argument)]
    if _calls(node, _aten.t.default) and _calls(node.args[0], _aten.t.default):
        return _terms(node.args[0].args[0])
    return [node]


def _has_transposed_factor(node: Any, shape: torch.Size) -> bool:
    is_product = _calls(node, _aten.mm.default) and node.meta["val"].shape == shape
    return is_product and _calls(node.args[0], _aten.t.default)


def _calls(node: Any, target: Any) -> bool:
    return isinstance(node, Node) and node.target is target
