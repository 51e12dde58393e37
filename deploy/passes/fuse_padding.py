# SPDX-License-Identifier: Apache-2.0
"""Moves borders into the convolutions behind them."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Node
from ..ops.base import Window
from ..ops.conv2d import Conv2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.pad import Pad
from ..ops.tflite_weighted import TfliteConv2d, TfliteDepthwiseConv2d

CONVOLUTIONS = (Conv2d, DepthwiseConv2d, TfliteConv2d, TfliteDepthwiseConv2d)


def fuse_padding(graph: Graph) -> Graph:
    """Let convolutions pad for themselves.

    Before: ``x -> pad -> conv``; after: ``x -> conv`` with the wider padding. Exact because both
    put the same code outside the image: the pad's value must be the convolution's, and only rows
    and columns may be padded. A pad that other nodes read too stays for them.
    """
    by_name = graph.by_name
    nodes = []
    for node in graph.nodes:
        pad = by_name[node.inputs[0]] if node.inputs else None
        if pad is not None and _fits(node, pad):
            assert isinstance(pad.op, Pad) and isinstance(node.op, CONVOLUTIONS)
            op = replace(node.op, window=_wider(node.op.window, pad.op), pad_value=pad.op.value)
            node = replace(node, op=op, inputs=pad.inputs)
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _fits(node: Node, pad: Node) -> bool:
    if not isinstance(node.op, CONVOLUTIONS) or not isinstance(pad.op, Pad):
        return False
    before, after = pad.op.before, pad.op.after
    if len(before) != 3 or before[2] or after[2]:
        return False
    if node.op.pad_value != pad.op.value and any(node.op.window.pad):
        return False
    window = node.op.window
    # kernels may take for granted that every window meets the image
    return all(
        size <= dilation * (kernel - 1)
        for size, dilation, kernel in zip(
            _wider(window, pad.op).pad, window.dilation * 2, window.kernel * 2, strict=True
        )
    )


def _wider(window: Window, pad: Pad) -> Window:
    (a, b, _), (c, d, _) = pad.before, pad.after
    top, left, bottom, right = window.pad
    return replace(window, pad=(top + a, left + b, bottom + c, right + d))
