# SPDX-License-Identifier: Apache-2.0
"""Structural and range rules, run after lowering, after every pass and on every loaded file."""

from __future__ import annotations

import math

from .errors import UnsupportedError
from .graph import Graph, Node
from .ops.base import INT32_MAX


def check(graph: Graph, after: str = "") -> Graph:
    """Return the graph when every rule holds.

    Rules: unique names, topological order, one input first, the declared shapes and types are the
    inferred ones, every integer the emitted code forms fits int32 (proved from the real constants
    and the ranges of the input types), and every operator's own rules.

    Args:
        graph: the network.
        after: name of the pass that made it, for messages.

    Raises:
        UnsupportedError: lists every broken rule with its node.
    """
    problems = _structure(graph)
    if not problems:
        for node in graph.nodes:
            problems += _node_problems(graph, node)
    if problems:
        where = f" (after {after})" if after else ""
        raise UnsupportedError([problem + where for problem in problems])
    return graph


def _structure(graph: Graph) -> list[str]:
    problems: list[str] = []
    seen: set[str] = set()
    for position, node in enumerate(graph.nodes):
        if node.name in seen:
            problems.append(f"{node.name}: name used twice; names must be unique; rename one")
        if (node.op.kind == "input") != (position == 0):
            problems.append(
                f"{node.name}: an input in position {position}; one input, first, is supported"
            )
        for name in node.inputs:
            if name not in seen:
                problems.append(f"{node.name}: reads {name!r} before it exists; sort the nodes")
        seen.add(node.name)
    if graph.output not in seen:
        problems.append(f"output: {graph.output!r} is no node of the graph")
    elif not problems and not computes(graph):
        problems.append(
            f"{graph.output}: the output is the input itself; at least one computing node is needed"
        )
    return problems


def computes(graph: Graph) -> bool:
    """Whether a node that computes something stands between input and output."""
    node = graph.output_node
    while node.op.passes_through:
        node = graph[node.inputs[0]]
    return node.op.kind != "input"


def _node_problems(graph: Graph, node: Node) -> list[str]:
    inputs = graph.inputs_of(node)
    try:
        shape, type_ = node.op.infer(inputs)
    except UnsupportedError as error:
        return [f"{node.source}: {problem}" for problem in error.problems]
    problems = [f"{node.source}: {text}" for text in node.op.problems(inputs)]
    declared = node.output
    if (shape, type_) != (declared.shape, declared.type):
        problems.append(
            f"{node.source}: declared {declared.type} {declared.shape} but computes {type_}"
            f" {shape}; they must agree; lower the model again"
        )
    if not (math.isfinite(declared.scale) and declared.scale > 0):
        problems.append(f"{node.source}: scale {declared.scale}; positive finite scales only")
    bits = max(info.type.bits for info in (*inputs, declared))
    if bits > node.op.widest:
        problems.append(
            f"{node.source}: {bits}-bit activations; 1 to {node.op.widest} bits are supported by"
            f" {node.op.kind}; lower act_bits or requantise before it"
        )
    for bound in node.op.bounds(inputs):
        if bound.magnitude > bound.limit:
            holds = f"int32 holds {bound.limit}" if bound.limit == INT32_MAX else (
                f"the rule takes up to {bound.limit}")  # fmt: skip
            problems.append(
                f"{node.source}: {bound.what} can reach {bound.magnitude}; {holds};"
                " use fewer bits or fewer inputs per output in this layer"
            )
    return problems
