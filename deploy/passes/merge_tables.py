# SPDX-License-Identifier: Apache-2.0
"""Joins functions of one value that follow each other into one table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Graph, Node
from ..ops.lookup import Lookup
from ..ops.requantize import Requantize
from ..requant import Int64
from ..types import IntArray, IntType


def merge_tables(graph: Graph) -> Graph:
    """Replace a chain of tables and requantisers by the table of the whole chain.

    Before: ``x -> f -> g`` where only g reads f; after: ``x -> g(f)``. Exact because the table is
    made by running both on every code that x can hold. Per-channel constants give one row per
    channel. A requantiser alone stays as it is: its rule is smaller than a table. So does what
    reads or makes more than 8 bits, for which a table would be too large.
    """
    kept: dict[str, Node] = {}
    for original in graph.nodes:
        node = original
        first = kept.get(node.inputs[0]) if node.inputs else None
        if (
            first is not None
            and isinstance(node.op, Lookup | Requantize)
            and isinstance(first.op, Lookup | Requantize)
            and isinstance(node.op, Lookup) | isinstance(first.op, Lookup)
            and len(graph.consumers(first.name)) == 1
            and first.name != graph.output
            and not (kept[first.inputs[0]].output.wide or node.output.wide)
        ):
            source = kept[first.inputs[0]].output
            table = _table(first.op, node.op, source.type, source.shape[-1])
            merged = Lookup(table, node.output.type)
            node = replace(node, op=merged, inputs=first.inputs)
            del kept[first.name]
        kept[node.name] = node
    return graph.with_nodes(tuple(kept.values()))


def _table(
    first: Lookup | Requantize, second: Lookup | Requantize, type_: IntType, channels: int
) -> Int64:
    rows = 1 if _rows(first) == _rows(second) == 1 else channels
    codes: IntArray = np.arange(type_.lo, type_.hi + 1, dtype=type_.dtype)
    every = np.repeat(codes[:, None], rows, axis=1)
    between = first.run([every]).astype(first.out_type.dtype)
    result: Int64 = np.asarray(second.run([between]), np.int64).T
    return np.ascontiguousarray(result)


def _rows(op: Lookup | Requantize) -> int:
    return len(op.table) if isinstance(op, Lookup) else len(op.requant.m)
