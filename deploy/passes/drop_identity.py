# SPDX-License-Identifier: Apache-2.0
"""Removes nodes that return their input unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Graph, Node
from ..ops.requantize import Requantize
from ..ops.source import Reshape


def drop_identity(graph: Graph) -> Graph:
    """Remove reshapes to the same shape and requantisers that map every code to itself.

    Before: ``a -> same -> b``; after: ``a -> b``. Exact because the dropped node is the identity
    on every code its input can hold, which is checked by running it on all of them. The node that
    makes the network's output stays.
    """
    renamed: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        node = replace(node, inputs=inputs)
        if node.name != graph.output and _is_identity(graph, node):
            renamed[node.name] = inputs[0]
        else:
            kept.append(node)
    return graph.with_nodes(tuple(kept))


def _is_identity(graph: Graph, node: Node) -> bool:
    if not node.inputs:
        return False
    before, after = graph[node.inputs[0]].output, node.output
    if (before.shape, before.type) != (after.shape, after.type):
        return False
    if isinstance(node.op, Reshape):
        return True
    if not isinstance(node.op, Requantize) or (before.scale, before.zero) != (
        after.scale,
        after.zero,
    ):
        return False
    codes = np.arange(before.type.lo, before.type.hi + 1)
    every = np.repeat(codes[:, None], len(node.op.requant.m), axis=1)
    return bool(np.array_equal(node.op.run([every]), every))
