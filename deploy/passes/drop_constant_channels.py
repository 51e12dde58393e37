# SPDX-License-Identifier: Apache-2.0
"""Removes channels that are constant, folding their code onward, and channels nobody needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..graph import Graph, Node
from ..ops.base import TensorInfo
from ..ops.conv2d import Conv2d
from ..ops.linear import Linear
from ..ops.source import Reshape
from ..ops.tflite_weighted import TfliteConv2d, TfliteLinear
from ..ops.weighted import Weights
from ..requant import T_LIMIT, Int64, Requant
from ..tflite_rule import TfliteRequant
from .channelwise import CHANNELWISE, constant_result, keep_channels

Keep = NDArray[np.int64]
FULL = (Conv2d, TfliteConv2d, Linear, TfliteLinear)
"""Operators whose every output channel reads every input channel."""


def drop_constant_channels(graph: Graph) -> Graph:
    """Remove constant channels between a layer that makes them and the layer that reads them.

    Before: ``conv -> (depthwise, pool, table, ...) -> conv`` where some channels are constant all
    the way (weights all zero, or multiplier zero); after: the same without these channels, and
    with ``weight * constant`` in the bias of the last layer. Exact: a channel goes only if it is
    constant in every operator on the way, borders included (the padding holds the same code, or
    there is none), and the new bias keeps its bounds. A channel whose weights are all zero in the
    last layer goes too, whatever it holds. At least one channel stays.
    """
    while True:
        for node in graph.nodes:
            found = road_from(graph, node)
            changed = None if found is None else _without(graph, found)
            if changed is not None:
                graph = changed
                break
        else:
            return graph


def road_from(graph: Graph, first: Node) -> list[Node] | None:
    """The nodes from a layer to the next, each read by the following one only."""
    if not isinstance(first.op, FULL) or getattr(first.op, "groups", 1) != 1:
        return None
    road = [first]
    while True:
        readers = graph.consumers(road[-1].name)
        if len(readers) != 1 or road[-1].name == graph.output or len(readers[0].inputs) != 1:
            return None
        node = readers[0]
        road.append(node)
        if isinstance(node.op, FULL):
            return road if getattr(node.op, "groups", 1) == 1 else None
        flat = isinstance(node.op, Reshape) and _single_pixel(graph.inputs_of(node)[0], node.output)
        same = node.output.shape[-1] == road[0].output.shape[-1]
        if not flat and not (isinstance(node.op, CHANNELWISE) and same):
            return None


def _single_pixel(before: TensorInfo, after: TensorInfo) -> bool:
    return before.shape[-1] == before.size == after.size == after.shape[-1]


def _without(graph: Graph, road: list[Node]) -> Graph | None:
    """The graph with the road's constant channels removed; None where there are none."""
    first, last = road[0], road[-1]
    values = _constants(first)
    for node in road[1:-1]:
        if not isinstance(node.op, Reshape):
            lowest = graph.inputs_of(node)[0].type.lo
            values = {
                channel: result
                for channel, code in values.items()
                if (result := constant_result(node.op, channel, code, lowest)) is not None
            }
    window, pad = getattr(last.op, "window", None), getattr(last.op, "pad_value", 0)
    if window is not None and any(window.pad):
        values = {channel: code for channel, code in values.items() if code == pad}
    assert isinstance(last.op, FULL)
    channels = first.output.shape[-1]
    unread = (last.op.weights.values.reshape(-1, channels) == 0).all(axis=0)
    values.update({int(channel): 0 for channel in np.flatnonzero(unread)})
    keep = np.array([c for c in range(channels) if c not in values], np.int64)
    if len(keep) == 0:
        keep = np.zeros(1, np.int64)
        values.pop(0)
    if not values:
        return None
    folded = _folded(last, keep, values)
    if folded is None:
        return None
    made: dict[str, Node] = {}
    for node in graph.nodes:
        source = tuple(made[name] for name in node.inputs)
        op = node.op
        if node is first:
            op = keep_channels(node.op, keep)
        elif node is last:
            op = folded.op
        elif node in road:
            size = (*node.output.shape[:-1], len(keep))
            op = Reshape(size) if isinstance(op, Reshape) else keep_channels(op, keep)
        shape, type_ = op.infer([n.output for n in source]) if source else (None, None)
        output = node.output
        if shape is not None and type_ is not None:
            output = replace(output, shape=shape, type=type_)
        made[node.name] = replace(node, op=op, output=output)
    return graph.with_nodes(tuple(made.values()))


def _constants(node: Node) -> dict[int, int]:
    """Constant output codes by channel."""
    assert isinstance(node.op, FULL)
    rule = node.op.requant
    dead = (node.op.weights.values.reshape(len(rule.m), -1) == 0).all(axis=1) | (rule.m == 0)
    codes = rule.apply(np.zeros(len(rule.m), np.int64))
    return {int(c): int(codes[c]) for c in np.flatnonzero(dead)}


def _folded(node: Node, keep: Keep, values: dict[int, int]) -> Node | None:
    """The reading layer without the channels; None where its bias would leave its bounds."""
    op = node.op
    assert isinstance(op, FULL)
    weights = op.weights
    moved: Int64 = np.zeros(len(weights.codes), np.int64)
    taps = weights.values.reshape(len(weights.codes), -1, weights.codes.shape[-1]).sum(axis=1)
    for channel, code in values.items():
        moved = moved + taps[:, channel] * code
    rule = op.requant
    if isinstance(rule, Requant):
        # constant channels of the reader (m = 0) have no bias to adjust
        bias = rule.bias + np.where(rule.m == 0, 0, moved << rule.p)
    else:
        bias = rule.bias + moved
    if np.abs(bias).max(initial=0) > T_LIMIT:
        return None
    kept = Weights(
        np.ascontiguousarray(weights.codes[..., keep]), weights.bits, weights.step, weights.offset
    )
    new: Requant | TfliteRequant = replace(rule, bias=bias)
    return replace(node, op=replace(op, weights=kept, requant=new))  # type: ignore[arg-type]
