"""Fewer and cheaper calls for the same arithmetic: what is done to a recorded step, once.

A step has some two thousand operations on small tensors, and what most of them cost is the call.
Results stay the same, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node, map_arg

_aten = torch.ops.aten

# PyTorch's own bindings take half the time of a call through `torch.ops`.
_BINDINGS: dict[Any, Any] = {
    _aten.add.Tensor: torch.add,
    _aten.add_.Tensor: torch.Tensor.add_,
    _aten.addmm.default: torch.addmm,
    _aten.bmm.default: torch.bmm,
    _aten.cat.default: torch.cat,
    _aten.clamp.default: torch.clamp,
    _aten.div.Tensor: torch.div,
    _aten.expand.default: torch.Tensor.expand,
    _aten.gt.Scalar: torch.gt,
    _aten.log.default: torch.log,
    _aten.lt.Scalar: torch.lt,
    _aten.mm.default: torch.mm,
    _aten.mul.Scalar: torch.mul,
    _aten.mul.Tensor: torch.mul,
    _aten.neg.default: torch.neg,
    _aten.pow.Tensor_Scalar: torch.pow,
    _aten.sigmoid.default: torch.sigmoid,
    _aten.squeeze.dim: torch.squeeze,
    _aten.sub.Tensor: torch.sub,
    _aten.sub_.Tensor: torch.Tensor.sub_,
    _aten.sum.default: torch.sum,
    _aten.sum.dim_IntList: torch.sum,
    _aten.t.default: torch.t,
    _aten.tanh.default: torch.tanh,
    _aten.transpose.int: torch.transpose,
    _aten.unsqueeze.default: torch.unsqueeze,
    _aten.view.default: torch.Tensor.view,
    _aten.where.self: torch.where,
}


def simplify(recording: GraphModule) -> None:
    """Leave out of a recording what need not be computed anew, or at all.

    Aliases give way to what they stand for; what depends on no input is computed now, which is also
    when numbers go to a GPU; the same operation on the same tensors is done once. Draws of random
    numbers, tensors that are written to, and results of the recording are left alone.

    Args:
        recording: changed in place; to be recompiled.
    """
    graph = recording.graph
    (output,) = graph.find_nodes(op="output")
    fixed = keep_their_place(recording).union(output.all_input_nodes)
    constants: dict[Node, Any] = {}
    seen: dict[tuple[Any, ...], Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or node in fixed:
            continue
        if node.target is _aten.alias.default:
            node.replace_all_uses_with(node.all_input_nodes[0])
            continue
        if node.target is _aten.lift_fresh_copy.default:  # of a number in the program
            (number,) = node.all_input_nodes
            constants[node] = getattr(recording, str(number.target))
        elif all(argument in constants for argument in node.all_input_nodes):
            constants[node] = node.target(
                *map_arg(node.args, constants.__getitem__),
                **map_arg(node.kwargs, constants.__getitem__),
            )
        key = (node.target, repr(node.args), repr(node.kwargs))  # repr, as lists cannot be keys
        first = seen.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
    for number, (node, value) in enumerate(constants.items()):
        if isinstance(value, Tensor) and any(user not in constants for user in node.users):
            name = f"constant_{number}"
            recording.register_buffer(name, value)
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(name))
    graph.eliminate_dead_code()


def bind(recording: GraphModule) -> None:
    """Call operations by PyTorch's bindings, where they have any.

    Args:
        recording: changed in place; to be recompiled.
    """
    for node in recording.graph.nodes:
        if node.op == "call_function":
            node.target = _BINDINGS.get(node.target, node.target)


def keep_their_place(recording: GraphModule) -> set[Node]:
    """Return draws, and all that touches memory which is written to: their order matters."""
    memory: dict[Node, Node] = {}  # whose memory a node shows
    written: set[Node] = set()
    fixed: set[Node] = set()
    for node in recording.graph.nodes:
        memory[node] = node
        if not isinstance(node.target, torch._ops.OpOverload):
            if node.all_input_nodes and node.op == "call_function":  # one of several results
                memory[node] = memory[node.all_input_nodes[0]]
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            fixed.add(node)
        schema = node.target._schema
        if any(result.alias_info is not None for result in schema.returns):
            memory[node] = memory[node.all_input_nodes[0]]
        if schema.is_mutable:
            written.update(memory[argument] for argument in node.all_input_nodes)
    for node, root in memory.items():
        if root in written or any(memory[argument] in written for argument in node.all_input_nodes):
            fixed.add(node)
    return fixed
