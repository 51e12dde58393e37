# SPDX-License-Identifier: Apache-2.0
"""From a graph and its kernels to the arena: who is alive when, and who may lie over whom."""

from __future__ import annotations

from collections.abc import Mapping

from .graph import Graph
from .memory import Buffer, MemoryPlan, plan_memory
from .memory_overlap import Overlap, plan_overlapping
from .ops.base import CPlan


def roots_of(graph: Graph) -> dict[str, str]:
    """For every tensor the node whose memory it is (reshapes share their input's)."""
    roots: dict[str, str] = {}
    for node in graph.nodes:
        roots[node.name] = roots[node.inputs[0]] if node.op.passes_through else node.name
    return roots


def plan_arena(graph: Graph, plans: Mapping[str, tuple[CPlan, str]]) -> MemoryPlan:
    """Offsets of every tensor and scratch buffer that lies in the context.

    Args:
        graph: the network; its input and output belong to the caller.
        plans: (plan, template) of every node that computes something, in order.
    """
    roots = roots_of(graph)
    steps = {node_name: step for step, node_name in enumerate(plans)}
    buffers = _buffers(graph, plans, roots, steps)
    overlaps = _overlaps(graph, plans, roots, {b.name: b for b in buffers})
    return plan_overlapping(buffers, overlaps) if overlaps else plan_memory(buffers)


def _buffers(
    graph: Graph,
    plans: Mapping[str, tuple[CPlan, str]],
    roots: Mapping[str, str],
    steps: Mapping[str, int],
) -> list[Buffer]:
    last = dict(steps)
    for node in graph.nodes:
        if node.name in steps:
            for source in node.inputs:
                root = roots[source]
                if root in last:
                    last[root] = max(last[root], steps[node.name])
    outside = {graph.input_node.name, roots[graph.output]}
    found = []
    for node_name, (plan, _) in plans.items():
        step = steps[node_name]
        if node_name not in outside:
            found.append(Buffer(node_name, graph[node_name].output.bytes_, step, last[node_name]))
        if plan.scratch:
            found.append(Buffer(f"{node_name} scratch", plan.scratch, step, step))
    return found


def _overlaps(
    graph: Graph,
    plans: Mapping[str, tuple[CPlan, str]],
    roots: Mapping[str, str],
    buffers: Mapping[str, Buffer],
) -> list[Overlap]:
    """Inputs that die at a node whose kernel allows its result to lie over them."""
    found = []
    for node_name, (plan, _) in plans.items():
        if node_name not in buffers or not plan.overlaps:
            continue
        distances: dict[str, int] = {}
        for source, distance in zip(graph[node_name].inputs, plan.overlaps, strict=True):
            root = roots[source]
            if root in buffers and buffers[root].last == buffers[node_name].first:
                distances[root] = max(distance, distances.get(root, distance))
        found += [Overlap(root, node_name, distance) for root, distance in distances.items()]
    return found
