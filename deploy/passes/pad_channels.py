# SPDX-License-Identifier: Apache-2.0
"""Adds channels of zeros where a device computes a fuller layer faster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...hw_models import HwModel
from ..check import check
from ..errors import UnsupportedError
from ..graph import Graph, Node
from ..ops.lookup import Lookup
from ..ops.pool2d import AvgPool2d
from ..ops.source import Reshape
from ..ops.weighted import Weights
from .drop_constant_channels import FULL, road_from

MULTIPLES = (2, 4, 8, 16)
GAIN = 0.01
"""Least share of the predicted cost that has to be won: the accuracy of the tables."""


def pad_channels(graph: Graph, table: HwModel) -> Graph:
    """Round channel counts between two layers up, where the table says that it is cheaper.

    Before: ``conv -> (depthwise, pool, table, ...) -> conv``; after: the same with more channels,
    whose weights are zero in front, along the road and in the last layer, if the predicted cycles
    (instructions where there is no cycle estimate) are fewer. Exact because nothing reads what the
    added channels hold, and every channel computes on its own in between. Networks with a node
    that the table has no price for stay as they are, and so do gains below `GAIN`, which a table
    cannot tell from nothing.
    """
    if any(not table.predicts(work) for _, work in graph.works(table.kernels)):
        return graph
    price = _price(graph, table)
    for node in graph.nodes:
        road = road_from(graph, graph[node.name])
        if road is None:
            continue
        count = road[0].output.shape[-1]
        for wanted in sorted({-(-count // m) * m for m in MULTIPLES} - {count}):
            changed = _padded(graph, road, wanted - count)
            if changed is not None and _price(changed, table) < price * (1 - GAIN):
                graph, price = changed, _price(changed, table)
                break
    return graph


def _price(graph: Graph, table: HwModel) -> float:
    costs = [entry.cost for entry in table.cost(graph)]
    if table.has_cycles:
        return sum(cost.cycles or 0.0 for cost in costs)
    return sum(cost.instructions for cost in costs)


def _padded(graph: Graph, road: list[Node], more: int) -> Graph | None:
    """The graph with ``more`` channels on the road; None where zero has no code or it breaks."""
    made: dict[str, Node] = {}
    for node in graph.nodes:
        op: Any = node.op
        if node in road:
            if isinstance(op, Reshape):
                op = Reshape((*node.output.shape[:-1], node.output.shape[-1] + more))
            else:
                op = _wider(op, more, first=node is road[0], last=node is road[-1])
            if op is None:
                return None
        source = tuple(made[name] for name in node.inputs)
        output = node.output
        if source:
            shape, type_ = op.infer([n.output for n in source])
            output = replace(output, shape=shape, type=type_)
        made[node.name] = replace(node, op=op, output=output)
    try:
        return check(graph.with_nodes(tuple(made.values())), after="pad_channels")
    except UnsupportedError:
        return None


def _wider(op: Any, more: int, *, first: bool, last: bool) -> Any:
    """An operator of the road with ``more`` channels of zeros; None where that is impossible."""
    changes: dict[str, Any] = {}
    weights = getattr(op, "weights", None)
    if weights is not None:
        zero, rest = divmod(-weights.offset, weights.step)
        if rest or not 0 <= zero < 1 << weights.bits:
            return None  # a grid without zero
        axis = -1 if last else 0
        pads = [(0, 0)] * weights.codes.ndim
        pads[axis] = (0, more)
        codes = np.pad(weights.codes, pads, constant_values=zero)
        changes["weights"] = Weights(codes, weights.bits, weights.step, weights.offset)
    rule = getattr(op, "requant", None)
    if rule is not None and not last and not isinstance(op, AvgPool2d):
        names = [n for n in ("bias", "m", "s", "shift", "z") if
                 isinstance(getattr(rule, n, None), np.ndarray)]  # fmt: skip
        parts = {n: np.concatenate([getattr(rule, n), getattr(rule, n)[:1].repeat(more)])
                 for n in names}  # fmt: skip
        changes["requant"] = replace(rule, **parts)
    if isinstance(op, Lookup) and len(op.table) > 1:
        changes["table"] = np.concatenate([op.table, op.table[:1].repeat(more, axis=0)])
    assert first or last or not isinstance(op, FULL)
    return replace(op, **changes) if changes else op
