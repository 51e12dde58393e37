# SPDX-License-Identifier: Apache-2.0
"""Joins transposes with each other, so that pairs of them vanish."""

from __future__ import annotations

from dataclasses import replace

from ..check import computes
from ..graph import Graph, Node
from ..ops.lookup import Lookup
from ..ops.requantize import Requantize
from ..ops.source import Reshape
from ..ops.transpose import Transpose


def cancel_transposes(graph: Graph) -> Graph:
    """Join transposes, and turn those that move no element into reshapes.

    Before: ``x -> transpose -> f -> ... -> transpose``, each read by the next only, where every f
    treats all elements alike; after: ``x -> f -> ... -> transpose`` with the joined axes. A
    transpose that only moves axes of size 1 becomes a reshape (and the identity is dropped by
    `drop_identity`). Exact because f sees the same codes at other places, and because elements
    keep their order in memory where only axes of size 1 move. A network that would compute nothing
    any more keeps its transposes.
    """
    while True:
        for node in graph.nodes:
            road = _road(graph, node)
            if road:
                graph = _joined(graph, road)
                break
        else:
            still = graph.with_nodes(tuple(_still(graph, node) for node in graph.nodes))
            return still if computes(still) else graph


def _road(graph: Graph, last: Node) -> list[Node]:
    """From one transpose to the next; empty where there is no such road."""
    road = [last]
    if not isinstance(last.op, Transpose):
        return []
    while True:
        node = graph[road[0].inputs[0]]
        if len(graph.consumers(node.name)) != 1 or node.name == graph.output or not node.inputs:
            return []
        road.insert(0, node)
        if isinstance(node.op, Transpose):
            return road
        if not _uniform(node):
            return []


def _uniform(node: Node) -> bool:
    """Whether a node does the same to every element, wherever it lies."""
    if isinstance(node.op, Lookup):
        return len(node.op.table) == 1
    if not isinstance(node.op, Requantize):
        return False
    rule = node.op.requant
    return all(len({int(v) for v in array}) == 1 for array in (rule.m, rule.s, rule.bias, rule.z))


def _joined(graph: Graph, road: list[Node]) -> Graph:
    first, last = road[0], road[-1]
    assert isinstance(first.op, Transpose) and isinstance(last.op, Transpose)
    shape = graph.inputs_of(first)[0].shape
    changed: dict[str, Node] = {}
    for node in road[1:-1]:
        op = node.op
        if isinstance(op, Requantize):  # as many constants as the last axis now has
            rule, count = op.requant, shape[-1]
            parts = {name: getattr(rule, name)[:1].repeat(count) for name in
                     ("bias", "m", "s", "z")}  # fmt: skip
            op = replace(op, requant=replace(rule, **parts))
        source = first.inputs if node is road[1] else node.inputs
        changed[node.name] = replace(
            node, op=op, inputs=source, output=replace(node.output, shape=shape)
        )
    axes = tuple(first.op.axes[axis] for axis in last.op.axes)
    source = first.inputs if len(road) == 2 else last.inputs
    changed[last.name] = replace(last, op=Transpose(axes), inputs=source)
    kept = [changed.get(node.name, node) for node in graph.nodes if node is not first]
    return graph.with_nodes(tuple(kept))


def _still(graph: Graph, node: Node) -> Node:
    """A transpose that moves no element as a reshape."""
    if not isinstance(node.op, Transpose):
        return node
    shape = graph.inputs_of(node)[0].shape
    moving = [axis for axis in node.op.axes if shape[axis] != 1]
    if moving != sorted(moving):
        return node
    return replace(node, op=Reshape(node.output.shape))
