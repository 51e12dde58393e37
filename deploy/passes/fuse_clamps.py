# SPDX-License-Identifier: Apache-2.0
"""Moves limits of codes into the operator before them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..ops.base import Op
from ..ops.lookup import Lookup
from ..ops.requantize import Requantize
from ..types import IntArray


def fuse_clamps(graph: Graph) -> Graph:
    """Let an operator with a final clamp limit its codes further.

    Before: ``x -> layer -> limit`` where only the limit reads the layer, on the same scale; after:
    ``x -> layer`` with narrower limits, under the limit's name. Exact because the limit is
    ``min(max(code, a), b)`` for every code it can read, which is checked by running it on all of
    them, and two clamps whose ranges meet are one clamp.
    """
    kept: dict[str, Node] = {}
    for node in graph.nodes:
        layer = kept.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if (
            layer is not None
            and layer.name != graph.output
            and (len(graph.consumers(layer.name)) == 1)
        ):
            op = _limited(layer, node)
            if op is not None:
                del kept[layer.name]
                node = replace(node, op=op, inputs=layer.inputs)
        kept[node.name] = node
    return graph.with_nodes(tuple(kept.values()))


def _limited(layer: Node, node: Node) -> Op | None:
    """The layer's operator with the node's limits; None where the node is no limit."""
    before, after = layer.output, node.output
    grids = [(info.type, info.scale, info.zero) for info in (before, after)]
    if not isinstance(node.op, Lookup | Requantize) or grids[0] != grids[1] or before.wide:
        return None
    holder: Any = layer.op
    names = {item.name for item in fields(holder)}
    inner: Any = getattr(holder, "requant", None)
    rule: Any = holder if {"lo", "hi"} <= names else inner
    if rule is None:
        return None
    codes: IntArray = np.arange(before.type.lo, before.type.hi + 1, dtype=before.type.dtype)
    channels = before.shape[-1]
    found = np.asarray(node.op.run([np.repeat(codes[:, None], channels, axis=1)]), np.int64)
    low, high = int(found.min()), int(found.max())
    if not (found == np.clip(codes, low, high)[:, None]).all() or low > rule.hi or high < rule.lo:
        return None
    limits = {"lo": max(rule.lo, low), "hi": min(rule.hi, high)}
    if rule is holder:
        return replace(holder, **limits)  # type: ignore[no-any-return]
    return replace(holder, requant=replace(rule, **limits))  # type: ignore[no-any-return]
