# SPDX-License-Identifier: Apache-2.0
"""Removes nodes that nothing reads."""

from __future__ import annotations

from ..graph import Graph


def drop_unused(graph: Graph) -> Graph:
    """Keep the input and what the output needs.

    Before: nodes on side roads; after: none. Exact because no kept node reads a dropped one.
    """
    needed = {graph.output, graph.input_node.name}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return graph.with_nodes(tuple(node for node in graph.nodes if node.name in needed))
