# SPDX-License-Identifier: Apache-2.0
"""Windows of ONNX operators, and the pools that slide them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from ..ops.base import Window
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..requant import Requant
from ..types import IntType
from .onnx_file import OnnxNode
from .onnx_layout import Layout, Shape
from .onnx_quantizers import regridded
from .onnx_values import Codes, Pending, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder


def read_window(node: OnnxNode, kernel: Shape, size: Shape) -> Window:
    """Geometry of a window over (H, W) or (L,), from a node's attributes.

    Raises:
        Unreadable: numbers that make no window.
    """
    rank = len(size)
    lift = 2 - rank
    strides = [int(v) for v in node.attr("strides", [1] * rank)]
    dilations = [int(v) for v in node.attr("dilations", [1] * rank)]
    pads = [int(v) for v in node.attr("pads", [0] * (2 * rank))]
    kernel = tuple(kernel[-rank:])
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or (
        min(*strides, *dilations, *kernel) < 1 or min(pads) < 0
    ):
        raise Unreadable(
            f"kernel {list(kernel)}, strides {strides}, dilations {dilations}, pads {pads} over"
            f" {rank} axes; positive numbers for each axis, and pads from 0, are supported"
        )
    auto = str(node.attr("auto_pad", "NOTSET"))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(rank):
            reach = (kernel[i] - 1) * dilations[i] + 1
            total = max((-(-size[i] // strides[i]) - 1) * strides[i] + reach - size[i], 0)
            small, large = total // 2, total - total // 2
            pads[i], pads[i + rank] = (
                (small, large) if auto == "SAME_UPPER" else (large, small)
            )
    elif auto not in ("NOTSET", "VALID"):
        raise Unreadable(
            f"auto_pad {auto}; NOTSET, VALID, SAME_UPPER and SAME_LOWER are supported"
        )
    one, zero = [1] * lift, [0] * lift
    both = (*zero, *pads[:rank], *zero, *pads[rank:])
    window = Window(
        _pair([*one, *kernel]), _pair([*one, *strides]), _pair([*one, *dilations]),
        (both[0], both[1], both[2], both[3]),
    )  # fmt: skip
    if min(window.out_hw(_pair([*one, *size]))) < 1:
        raise Unreadable(
            f"an input of {list(size)} positions, smaller than the window {list(kernel)}; at least"
            " one result is needed; use a larger input"
        )
    return window


def _pair(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]


def _size(shape: Shape) -> tuple[int, int]:
    return (1, shape[1]) if len(shape) == 2 else (shape[1], shape[2])


def _pool(b: Builder, node: OnnxNode, t: Table) -> Window:
    if len(t.shape) not in (2, 3):
        raise Unreadable(
            f"an input of shape {(1, *t.shape)}; images (1, C, H, W) and sequences (1, C, L) are"
            " supported"
        )
    window = read_window(node, tuple(int(v) for v in node.attr("kernel_shape", ())), t.shape[1:])
    if window.dilation != (1, 1):
        raise Unreadable(
            f"dilations {list(window.dilation)}; 1 is supported for pools; use a larger kernel"
        )
    if not node.attr("ceil_mode", 0):
        return window
    # a window that begins inside and reaches beyond the end: more padding behind
    top, left, bottom, right = window.pad
    grown = []
    for size, kernel, stride, before, after in zip(
        _size(t.shape), window.kernel, window.stride, (top, left), (bottom, right), strict=True
    ):
        room = size + before + after - kernel
        last = -(-room // stride)
        last -= last * stride >= size + before
        grown.append(after + max(last * stride - room, 0))
    wide = replace(window, pad=(top, left, grown[0], grown[1]))
    if node.op != "MaxPool" and wide != window:
        raise Unreadable(
            "ceil_mode with windows that reach beyond the input; windows that fit are supported;"
            " pad the input"
        )
    return wide


def _result(t: Table, window: Window) -> Shape:
    rank = len(t.shape) - 1
    return (t.shape[0], *window.out_hw(_size(t.shape))[2 - rank :])


def max_pooled(b: Builder, t: Table, window: Window) -> Table:
    """The largest of every window; larger codes must mean larger values."""
    if not t.rising():
        t = regridded(b, t)
    if not t.rising():
        raise Unreadable(
            "values that fall with their codes; rising ones are supported; put a quantiser in front"
        )
    source = b.channels_last(t.codes).node
    node = b.emit(MaxPool2d(window), (source,))
    return Table(Codes(node, Layout.canonical(_result(t, window))), t.real)


def read_maxpool(b: Builder, node: OnnxNode) -> Tensor:
    """MaxPool and GlobalMaxPool."""
    table = b.table(node)
    if node.op == "GlobalMaxPool":
        window = Window(_size(table.shape))
    else:
        window = _pool(b, node, table)
    return max_pooled(b, table, window)


def averaged(b: Builder, t: Tensor, window: Window, shape: Shape) -> Pending:
    """The mean of every window of a quantised tensor; padding counts as 0."""
    from .onnx_weighted import outside, source_line

    table, a, c = source_line(b, t)
    pad = outside(window, a, c)
    source: Node = b.channels_last(table.codes).node
    count = prod(window.kernel)
    type_ = source.output.type

    def make(rule: Requant, out: IntType) -> AvgPool2d:
        return AvgPool2d(window, rule, out, pad)

    return Pending(
        "an average pool", make, (source,), shape, np.array([a / count]), np.array([c]),
        np.array([count * type_.lo]), np.array([count * type_.hi]),
    )  # fmt: skip


def read_average(b: Builder, node: OnnxNode) -> Tensor:
    """AveragePool whose padding, if any, counts."""
    table = b.table(node)
    window = _pool(b, node, table)
    if any(window.pad) and not node.attr("count_include_pad", 0):
        raise Unreadable(
            f"pads {list(window.pad)} that do not count (count_include_pad 0); no padding, or"
            " padding that counts, is supported; set count_include_pad to 1 and train with it"
        )
    return averaged(b, table, window, _result(table, window))


def read_mean(b: Builder, node: OnnxNode) -> Tensor:
    """GlobalAveragePool, and ReduceMean over all positions."""
    table = b.table(node)
    keep = True
    if node.op == "ReduceMean":
        keep = bool(node.attr("keepdims", 1))
        axes = node.attr("axes")
        if axes is None:
            axes = b.integers(node, 1, "axes") if node.has(1) else range(len(table.shape) + 1)
        found = sorted(int(v) % (len(table.shape) + 1) for v in axes)
        if found != list(range(2, len(table.shape) + 1)) or not found:
            raise Unreadable(
                f"a mean over axes {found} of {len(table.shape) + 1}; all axes behind the channels"
                " are supported"
            )
    if len(table.shape) not in (2, 3):
        raise Unreadable(f"an input of shape {(1, *table.shape)}; images and sequences are"
                         " supported")  # fmt: skip
    ones = (1,) * (len(table.shape) - 1) if keep else ()
    return averaged(b, table, Window(_size(table.shape)), (table.shape[0], *ones))


POOLS: dict[str, Callable[[Builder, OnnxNode], Tensor]] = {
    "AveragePool": read_average,
    "GlobalAveragePool": read_mean,
    "GlobalMaxPool": read_maxpool,
    "MaxPool": read_maxpool,
    "ReduceMean": read_mean,
}
"""How each operator is read, by its ONNX name."""
