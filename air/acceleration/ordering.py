"""One order for the operations of a step, however they were recorded.

Pyro keeps names in sets, and a set's order is another in each process. Estimators add up in one
order all the same; but additions that have nothing to do with one another are recorded in any.
"""

from __future__ import annotations

from torch.fx import Graph, GraphModule, Node, map_arg

from air.acceleration.simplifying import keep_their_place


def in_order(recording: GraphModule) -> Graph:
    """Return the operations of a recording in an order that follows from its results alone.

    Each comes right before the first that needs it, but draws and all that touches memory which is
    written to stay one after the other. What no result needs is left out.

    Args:
        recording: left as it is.

    Returns:
        A graph whose inputs and results are in a row.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    keep = keep_their_place(recording)
    nodes = recording.graph.nodes
    for last in [node for node in nodes if node.op in ("placeholder", "output") or node in keep]:
        pending = [last]
        while pending:
            node = pending[-1]
            needed = next((each for each in node.all_input_nodes if each not in copies), None)
            if needed is not None:
                pending.append(needed)
                continue
            if node not in copies:
                copies[node] = graph.create_node(
                    node.op,
                    node.target,
                    map_arg(node.args, copies.__getitem__),
                    map_arg(node.kwargs, copies.__getitem__),
                )
            pending.pop()
    return graph
