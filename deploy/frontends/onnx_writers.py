# SPDX-License-Identifier: Apache-2.0
"""How each operator of the graph is written as ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..ops.add import Add
from ..ops.base import Window
from ..ops.conv2d import Conv2d
from ..ops.conv_transpose2d import ConvTranspose2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.linear import Linear
from ..ops.lookup import Lookup
from ..ops.mul import Mul
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.requantize import Requantize
from ..ops.weighted import FLOAT32_EXACT, Weights
from ..requant import Int64
from ..types import IntType
from .onnx_export import DOUBLE, QONNX, File, Write, onnx_shape
from .onnx_writers_moves import MOVING

POOL_EXACT = 1 << 22
"""Sums up to here are whole again after a division and a product in float32."""


def _reach(type_: IntType) -> int:
    return max(abs(type_.lo), abs(type_.hi))


def _weights(f: File, node: Node, weights: Weights, values: Int64) -> str:
    """The weights in ONNX's order, behind the quantiser that declares their width."""
    name = f.name(f"{node.name}/weights")
    f.fixed.add(name)
    raw = f.constant(f"{node.name}/raw", values)
    if (weights.bits, weights.step, weights.offset) == (1, 2, -1):
        one = f.constant(f"{name}/step", 1.0)
        return f.op("BipolarQuant", [raw, one], name, values.shape, domain=QONNX)
    half = 1 << (weights.bits - 1)
    if weights.bits > 1 and weights.step == 1 and weights.offset == -half:
        return f.quant(raw, name, values.shape, IntType(weights.bits, True))
    # value = step * (code - zero)
    return f.quant(
        raw, name, values.shape, IntType(weights.bits, False), step=weights.step,
        zero=-weights.offset / weights.step,
    )  # fmt: skip


def _pads(window: Window) -> dict[str, list[int]]:
    return {"pads": list(window.pad)} if any(window.pad) else {}


def _window(window: Window) -> dict[str, Any]:
    return {
        "kernel_shape": window.kernel, "strides": window.stride, "dilations": window.dilation
    }  # fmt: skip


def _bordered(f: File, node: Node, x: str, window: Window, value: int) -> tuple[str, Window]:
    """The input with a border of ``value`` where ONNX would add zeros."""
    if not any(window.pad) or value == 0:
        return x, window
    top, left, bottom, right = window.pad
    info = f.info(node)
    rows, columns, channels = info.shape
    pads = f.constant(f"{node.name}/pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    border = f.constant(f"{node.name}/border", value)
    shape = (1, channels, rows + top + bottom, columns + left + right)
    return (
        f.step(node, "Pad", [x, pads, border], shape, mode="constant"),
        Window(window.kernel, window.stride, window.dilation),
    )


def write_input(f: File, node: Node) -> None:
    """The input, its width declared."""
    f.taken.add(f"{node.name}/codes")
    f.at[node.name] = f.quant(
        f"{node.name}/codes", node.name, onnx_shape(node.output.shape), node.output.type
    )


def write_conv(f: File, node: Node) -> None:
    """Conv2d and DepthwiseConv2d; sums that float32 cannot hold are made of several parts."""
    op = node.op
    assert isinstance(op, Conv2d | DepthwiseConv2d)
    groups = op.groups if isinstance(op, Conv2d) else f.info(node).shape[2]
    values = op.weights.values.transpose(0, 3, 1, 2)
    x, window = _bordered(f, node, f.codes(node), op.window, op.pad_value)
    w = _weights(f, node, op.weights, values)
    shape = onnx_shape(node.output.shape)
    attrs = {**_window(window), **_pads(window), "group": groups}
    masks = _masks(values, _reach(f.info(node).type))
    if len(masks) == 1:
        f.requantised(node, f.step(node, "Conv", [x, w], shape, **attrs), op.requant)
        return
    total = ""
    for mask in masks:
        part = f.constant(f"{node.name}/mask", mask.reshape(1, *values.shape[1:]))
        kept = f.name(f"{node.name}/part")
        f.fixed.add(kept)
        f.op("Mul", [w, part], kept, values.shape)
        acc = f.cast(node, f.step(node, "Conv", [x, kept], shape, **attrs), shape, DOUBLE)
        total = f.step(node, "Add", [total, acc], shape, DOUBLE) if total else acc
    f.requantised(node, total, op.requant, DOUBLE)


def _masks(values: Int64, reach: int) -> list[Int64]:
    """0 and 1 per weight of an output, so that no part's sum of products leaves float32."""
    sums = np.abs(values.reshape(len(values), -1)).astype(np.int64) * reach
    masks, start, count = [], 0, sums.shape[1]
    while start < count:
        totals = np.cumsum(sums[:, start:], axis=1).max(axis=0)
        end = start + max(int(np.searchsorted(totals, FLOAT32_EXACT)), 1)
        mask = np.zeros(count, np.int64)
        mask[start:end] = 1
        masks.append(mask)
        start = end
    return masks


def write_conv_transpose(f: File, node: Node) -> None:
    """ConvTranspose2d: zeros between and around the pixels stand for the zero point."""
    op = node.op
    assert isinstance(op, ConvTranspose2d)
    values = op.weights.values
    info = f.info(node)
    if int(np.abs(values).reshape(len(values), -1).sum(1).max()) * (
        _reach(info.type) + abs(op.pad_value)
    ) >= FLOAT32_EXACT:
        raise UnsupportedError(
            ["a transposed convolution whose sums leave 2^24; smaller ones have an ONNX form; use"
             " fewer bits or channels"]
        )  # fmt: skip
    outputs, kh, kw, depth = values.shape
    per_group = outputs // op.groups
    turned = values[:, ::-1, ::-1].reshape(op.groups, per_group, kh, kw, depth)
    stored = np.ascontiguousarray(turned.transpose(0, 4, 1, 2, 3)).reshape(-1, per_group, kh, kw)
    x = f.codes(node)
    if op.pad_value:
        source = onnx_shape(info.shape)
        x = f.binary(node, "Add", x, -op.pad_value, "-zero", source, "FLOAT")
    w = _weights(f, node, op.weights, stored)
    reach = [d * (k - 1) for d, k in zip(op.window.dilation, (kh, kw), strict=True)]
    pads = [r - p for r, p in zip(reach * 2, op.window.pad, strict=True)]
    extra = [max(0, -v) for v in pads[2:]]
    shape = onnx_shape(node.output.shape)
    acc = f.step(
        node, "ConvTranspose", [x, w], shape, kernel_shape=(kh, kw), strides=op.gap,
        dilations=op.window.dilation, group=op.groups, output_padding=extra,
        pads=[*pads[:2], *(v + e for v, e in zip(pads[2:], extra, strict=True))],
    )  # fmt: skip
    if op.pad_value:
        sums = op.pad_value * values.reshape(outputs, -1).sum(axis=1)
        acc = f.binary(node, "Add", acc, sums.reshape(1, -1, 1, 1), "zeros", shape, "FLOAT")
    f.requantised(node, acc, op.requant)


def write_linear(f: File, node: Node) -> None:
    """Linear: MatMul, in float64 where float32 is too narrow."""
    op = node.op
    assert isinstance(op, Linear)
    values = op.weights.values.T
    x, w = f.codes(node), _weights(f, node, op.weights, values)
    shape = onnx_shape(node.output.shape)
    reach = int(np.abs(values).sum(axis=0).max()) * _reach(f.info(node).type)
    type_ = "FLOAT" if reach < FLOAT32_EXACT else DOUBLE
    if type_ == DOUBLE:
        x = f.cast(node, x, onnx_shape(f.info(node).shape), DOUBLE)
        w = f.cast(node, w, values.shape, DOUBLE, fixed=True)
    f.requantised(node, f.step(node, "MatMul", [x, w], shape, type_), op.requant, type_)


def write_add(f: File, node: Node) -> None:
    """Add: every input times its factor."""
    op = node.op
    assert isinstance(op, Add)
    shape, rule, total = onnx_shape(node.output.shape), op.requant, ""
    for i, m in enumerate(rule.m):
        x = f.cast(node, f.codes(node, i), shape, DOUBLE)
        x = f.binary(node, "Mul", x, m, f"m{i}", shape)
        total = f.step(node, "Add", [total, x], shape, DOUBLE) if total else x
    total = f.binary(node, "Add", total, rule.bias + (1 << (rule.s - 1)), "bias", shape)
    f.shifted(node, total, rule.s, rule.z, rule.lo, rule.hi)


def write_mul(f: File, node: Node) -> None:
    """Mul: both inputs less their zero points."""
    op = node.op
    assert isinstance(op, Mul)
    parts = []
    for i, zero in enumerate(op.zeros):
        shape = onnx_shape(f.info(node, i).shape)
        x = f.cast(node, f.codes(node, i), shape, DOUBLE)
        parts.append(f.binary(node, "Add", x, -zero, f"-zero{i}", shape))
    product = f.step(node, "Mul", parts, onnx_shape(node.output.shape), DOUBLE)
    f.requantised(node, product, op.requant, DOUBLE)


def write_requantize(f: File, node: Node) -> None:
    """Requantize: the rule with the code as the accumulator."""
    assert isinstance(node.op, Requantize)
    f.requantised(node, f.codes(node), node.op.requant)


def write_maxpool(f: File, node: Node) -> None:
    """MaxPool2d."""
    assert isinstance(node.op, MaxPool2d)
    window, shape = node.op.window, onnx_shape(node.output.shape)
    attrs = {**_window(window), **_pads(window)}
    f.result(node, f.step(node, "MaxPool", [f.codes(node)], shape, **attrs))


def write_avgpool(f: File, node: Node) -> None:
    """AvgPool2d: the mean times the count, rounded, is the sum."""
    op = node.op
    assert isinstance(op, AvgPool2d)
    count = op.window.kernel[0] * op.window.kernel[1]
    if count * _reach(f.info(node).type) >= POOL_EXACT:
        raise UnsupportedError(
            [f"an average over {count} positions; sums below 2^22 have an ONNX form; pool in two"
             " steps"]
        )  # fmt: skip
    x, window = _bordered(f, node, f.codes(node), op.window, op.pad_value)
    shape = onnx_shape(node.output.shape)
    attrs: dict[str, Any] = {
        "kernel_shape": window.kernel, "strides": window.stride, **_pads(window),
        "count_include_pad": 1,
    }  # fmt: skip
    mean = f.step(node, "AveragePool", [x], shape, **attrs)
    total = f.binary(node, "Mul", mean, count, "count", shape, "FLOAT")
    f.requantised(node, f.step(node, "Round", [total], shape), op.requant)


def write_lookup(f: File, node: Node) -> None:
    """Lookup: Gather from the table, with the code less the lowest one as index."""
    op = node.op
    assert isinstance(op, Lookup)
    info, shape = f.info(node), onnx_shape(node.output.shape)
    rows, length = op.table.shape
    start: Any = np.arange(rows) * length - info.type.lo
    if rows > 1 and len(shape) == 4:
        start = start.reshape(1, -1, 1, 1)
    index = f.binary(node, "Add", f.codes(node), start, "start", shape, "FLOAT")
    index = f.cast(node, index, shape, "INT64")
    table = f.constant(f"{node.name}/table", op.table.reshape(-1))
    f.result(node, f.step(node, "Gather", [table, index], shape, axis=0))


WRITERS: dict[str, Write] = {
    "add": write_add, "avgpool2d": write_avgpool, "conv2d": write_conv,
    "conv_transpose2d": write_conv_transpose, "depthwise_conv2d": write_conv,
    "input": write_input, "linear": write_linear, "lookup": write_lookup,
    "maxpool2d": write_maxpool, "mul": write_mul, "requantize": write_requantize, **MOVING,
}  # fmt: skip
"""Writers by the kind of operator."""
