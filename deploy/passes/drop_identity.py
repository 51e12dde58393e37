# SPDX-License-Identifier: Apache-2.0
"""Removes nodes that return their input unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..check import computes
from ..graph import Graph, Node
from ..ops.concat import Concat
from ..ops.lookup import Lookup
from ..ops.pad import Pad
from ..ops.pool2d import MaxPool2d
from ..ops.requantize import Requantize
from ..ops.slice import Slice
from ..ops.source import Reshape
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleNearest


def drop_identity(graph: Graph) -> Graph:
    """Remove moves that move nothing, and tables and requantisers that keep every code.

    Before: ``a -> same -> b``; after: ``a -> b``. Exact because the dropped node is the identity
    on every code its input can hold, which is checked by running it on all of them; a move keeps
    the shape and, where it could still reorder, has nothing to reorder. A reshape of a reshape
    reads what that one read. The node that makes the network's output stays, and so does everything
    in a network that would compute nothing any more.
    """
    renamed: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        node = replace(node, inputs=inputs)
        if isinstance(node.op, Reshape) and isinstance(graph[inputs[0]].op, Reshape):
            before = next(n for n in kept if n.name == inputs[0])
            node = replace(node, inputs=before.inputs)
        if node.name != graph.output and _is_identity(graph, node):
            renamed[node.name] = node.inputs[0]
        else:
            kept.append(node)
    found = graph.with_nodes(tuple(kept))
    return found if computes(found) else graph


def _is_identity(graph: Graph, node: Node) -> bool:
    if not node.inputs:
        return False
    before, after = graph[node.inputs[0]].output, node.output
    if (before.shape, before.type) != (after.shape, after.type):
        return False
    op = node.op
    if isinstance(op, Reshape | Slice | Pad | UpsampleNearest):
        return True
    if isinstance(op, Transpose):
        return op.axes == tuple(range(len(op.axes)))
    if isinstance(op, Concat):
        return len(node.inputs) == 1
    if isinstance(op, MaxPool2d):
        return op.window.kernel == (1, 1)
    if not isinstance(op, Requantize | Lookup) or (before.scale, before.zero) != (
        after.scale,
        after.zero,
    ):
        return False
    codes = np.arange(before.type.lo, before.type.hi + 1, dtype=before.type.dtype)
    every = np.repeat(codes[:, None], before.shape[-1], axis=1)
    return bool(np.array_equal(op.run([every]), every))
