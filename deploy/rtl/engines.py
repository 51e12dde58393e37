# SPDX-License-Identifier: Apache-2.0
"""Which engine computes a layer with weights: folded, with its weights in a memory, or unrolled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...hw_models import Fabric
from ..errors import UnsupportedError, UsageError
from ..graph import Graph, Node
from .adder_search import digit_count
from .plan import Fold, RtlPlan
from .unrolled import MOST_WEIGHTS

ENGINES = ("auto", "folded", "unrolled")
EVERY = "*"
"""Stands for all layers in a choice of engines."""
LEAST_BITS = 0.3
"""Bits of adders per signed digit and bit of the input: no graph seen so far takes fewer."""

Engines = tuple[tuple[str, str], ...]
"""(layer or `EVERY`, engine), later ones first."""


def parse_engines(texts: Sequence[str]) -> Engines:
    """Engines from texts such as ``folded`` or ``net.conv1=unrolled``.

    Raises:
        UsageError: an unknown engine, a layer named twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        layer, separator, engine = text.rpartition("=")
        if engine not in ENGINES or (separator and not layer):
            raise UsageError(
                f"--engine: {text!r}; ENGINE or LAYER=ENGINE with {', '.join(ENGINES)} is"
                " supported; write for example --engine folded --engine conv1=unrolled"
            )
        if (layer or EVERY) in found:
            raise UsageError(
                f"--engine: {layer or 'all layers'} given twice; one engine each; remove one"
            )
        found[layer or EVERY] = engine
    return tuple(sorted(found.items(), key=lambda item: item[0] == EVERY))


def engine_of(node: Node, engines: Engines) -> str:
    """What is asked for a node; "folded" for what cannot be unrolled at all."""
    for layer, engine in engines:
        if layer in (node.name, node.source) or layer == EVERY:
            return engine if node.op.unrolls else "folded"
    return "auto" if node.op.unrolls else "folded"


def check_engines(graph: Graph, engines: Engines) -> None:
    """Refuse layers that are not there and layers that cannot be unrolled, all of them.

    Raises:
        UsageError: names them.
    """
    problems = []
    for layer, engine in engines:
        found = [node for node in graph.nodes if layer in (node.name, node.source, EVERY)]
        named = [node for node in found if node.op.unrolls]
        if layer != EVERY and not named:
            what = f"operator {found[0].op.kind} has one engine" if found else "no such layer"
            known = ", ".join(node.name for node in graph.nodes if node.op.unrolls) or "none"
            problems.append(
                f"--engine {layer}={engine}: {what}; layers with a choice are {known}; name one of"
                " them"
            )
    for node in graph.nodes:
        if engine_of(node, engines) == "unrolled" and node.op.weight_count > MOST_WEIGHTS:
            problems.append(
                f"--engine: {node.source} has {node.op.weight_count} weights; up to {MOST_WEIGHTS}"
                f" can be unrolled; add --engine {node.name}=folded"
            )
    if problems:
        raise UsageError("\n".join(problems))


def unrolled_plans(
    graph: Graph, node: Node, fabric: Fabric, affordable: float
) -> Iterator[tuple[Fold, RtlPlan]]:
    """The unrolled forms of a layer, by the number of results that leave at once.

    None where the layer's adders alone take more than ``affordable`` LUTs for certain: such a
    layer's graph is not searched for.
    """
    if node.op.weight_count > MOST_WEIGHTS or least_luts(graph, node) > affordable:
        return
    inputs, channels = graph.inputs_of(node), node.output.shape[-1]
    for at_once in range(1, channels + 1):
        for serial in (False, True):
            fold = Fold(at_once, 1, serial, fabric.deep, 0, True, fabric.adder_levels)
            if channels % at_once or (serial and at_once < channels):
                continue
            try:
                plan = node.op.rtl_plan(inputs, node.output, fold)
            except UnsupportedError:
                continue
            if plan is not None:
                yield fold, plan


def least_luts(graph: Graph, node: Node) -> float:
    """LUTs that no adder graph of a layer is known to go below."""
    weights = node.op.weights.values  # type: ignore[attr-defined]
    digits = sum(digit_count(row) for row in weights.reshape(len(weights), -1))
    return LEAST_BITS * digits * graph.inputs_of(node)[0].type.bits
