# SPDX-License-Identifier: Apache-2.0
"""Readers of the ONNX operators with weights: Conv, ConvTranspose, Gemm, MatMul."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from ..ops.base import Op, Window
from ..ops.conv2d import Conv2d
from ..ops.conv_transpose2d import ConvTranspose2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.linear import Linear
from ..ops.weighted import Weights, accumulator_bounds
from ..requant import Float64, Int64, Requant
from ..types import IntType
from .onnx_file import OnnxNode
from .onnx_layout import Shape
from .onnx_quantizers import regridded
from .onnx_values import Const, Part, Pending, Table, Tensor, Unreadable
from .onnx_window import read_window

if TYPE_CHECKING:
    from .onnx import Builder


def integers_of(weights: Const, axis: int, outputs: int) -> tuple[Int64, Float64]:
    """(whole weights, real size of one per output channel); channels lie on ``axis``.

    Raises:
        Unreadable: weights that no quantiser made, or scales along other axes.
    """
    if weights.ints is None or weights.scale is None:
        raise Unreadable(
            f"weights of real numbers, shape {weights.data.shape}; integers of 1 to 8 bits are"
            " supported; store them behind DequantizeLinear, Quant or BipolarQuant"
        )
    scale = weights.scale
    if scale.size == 1:
        return weights.ints, np.full(outputs, float(scale.flat[0]))
    if scale.ndim != weights.ints.ndim or scale.size != scale.shape[axis]:
        raise Unreadable(
            f"weight scales of shape {scale.shape} for weights {weights.ints.shape}; one, or one"
            f" per output channel (axis {axis}), is supported; quantise per output channel"
        )
    return weights.ints, scale.reshape(-1)


def packed(ints: Int64, grid: tuple[int, int, int] | None) -> Weights:
    """Codes of whole weights: of their own grid, or of the smallest that holds them.

    Raises:
        Unreadable: weights that span more than 8 bits.
    """
    if grid is not None:
        bits, step, offset = grid
        codes, rest = np.divmod(ints - offset, step)
        if bits <= 8 and not rest.any() and codes.min() >= 0 and codes.max() < 1 << bits:
            return Weights(np.ascontiguousarray(codes, np.uint8), bits, step, offset)
    low, span = int(ints.min()), int(ints.max() - ints.min())
    if span > 255:
        raise Unreadable(
            f"weights from {low} to {low + span} less their zero points; 8 bits are supported;"
            " quantise symmetrically"
        )
    return Weights(np.ascontiguousarray(ints - low, np.uint8), max(span.bit_length(), 1), 1, low)


def source_line(b: Builder, t: Tensor) -> tuple[Table, float, float]:
    """(codes, a, c): the input of a layer, whose values are ``a*code + c``."""
    assert not isinstance(t, Const)
    table = regridded(b, b.quantised(t))
    line = table.line()
    if line is None or line[0] == 0:
        raise Unreadable(
            "an input that is constant or bent; a straight grid is supported; put a quantiser in"
            " front"
        )
    return table, line[0], line[1]


def layer(
    what: str, ints: Int64, unit: Float64, bias: Float64, shape: Shape, source: Node,
    line: tuple[float, float], make: Callable[[Requant, IntType], Op],
) -> Pending:  # fmt: skip
    """The unfinished result of a layer with output channels first in ``ints``."""
    rows = ints.reshape(len(ints), -1)
    low, high = accumulator_bounds(ints, source.output.type)
    offset = line[1] * unit * rows.sum(axis=1) + bias
    return Pending(what, make, (source,), shape, line[0] * unit, offset, low, high)


def bias_of(b: Builder, node: OnnxNode, position: int, count: int) -> Float64:
    """A constant bias, one per output channel; zeros where there is none."""
    if not node.has(position):
        return np.zeros(count)
    data = b.const(node, position, "a bias").reals
    if data.size not in (1, count):
        raise Unreadable(
            f"a bias of shape {data.shape} for {count} channels; one per channel is supported"
        )
    return np.broadcast_to(data.reshape(-1), count).astype(np.float64)


def read_conv(b: Builder, node: OnnxNode) -> Tensor:
    """Conv of images and sequences, any groups."""
    weights = b.const(node, 1, "weights")
    return convolved(b, node, b.active(node), weights, lambda n: bias_of(b, node, 2, n))


def convolved(
    b: Builder, node: OnnxNode, t: Tensor, weights: Const, bias: Callable[[int], Float64]
) -> Pending:
    """A convolution of a quantised tensor."""
    table, a, c = source_line(b, t)
    ints, unit = integers_of(weights, 0, weights.data.shape[0])
    rank = len(table.shape) - 1
    if rank not in (1, 2) or ints.ndim != rank + 2:
        raise Unreadable(
            f"an input of shape {(1, *table.shape)} with weights {ints.shape}; images (1, C, H, W)"
            " and sequences (1, C, L) are supported; use Conv with one or two spatial axes"
        )
    groups = int(node.attr("group", 1))
    channels, outputs = table.shape[0], len(ints)
    if groups < 1 or ints.shape[1] * groups != channels or outputs % groups:
        raise Unreadable(
            f"{channels} channels in {groups} groups with weights {ints.shape}; channels and"
            " outputs must divide evenly; export the model again"
        )
    if rank == 1:
        ints = ints[:, :, None]
    ohwi = np.ascontiguousarray(ints.transpose(0, 2, 3, 1))
    window = read_window(node, ohwi.shape[1:3], table.shape[1:])
    pad = outside(window, a, c)
    source = b.channels_last(table.codes).node
    out = window.out_hw(_rows(table.shape))
    shape = (outputs, *out[2 - rank :])
    offset = bias(outputs)

    def build(values: Int64) -> Pending:
        made = packed(values, weights.grid)

        def make(rule: Requant, type_: IntType) -> Op:
            if groups == channels > 1:
                return DepthwiseConv2d(made, rule, type_, window, pad)
            return Conv2d(made, rule, type_, window, groups, pad)

        found = layer("Conv", values, unit, offset, shape, source, (a, c), make)
        if offset.any() or c:
            return found
        key = (source.name, window, groups, pad, a, unit.tobytes())
        return replace(found, part=Part(key, values, build))

    return build(ohwi)


def _rows(shape: Shape) -> tuple[int, int]:
    """(H, W) of a map or (1, L) of a sequence."""
    return (1, shape[1]) if len(shape) == 2 else (shape[1], shape[2])


def outside(window: Window, a: float, c: float) -> int:
    """The code of the real 0, which lies outside the image; 0 where nothing is padded."""
    if not any(window.pad):
        return 0
    zero = -c / a
    if abs(zero - round(zero)) > 1e-4:
        raise Unreadable(
            "padding with 0, which is no code of the input's grid (bipolar codes have none); no"
            " padding, or a grid with a zero point, is supported; pad with a value of the grid"
        )
    return round(zero)


def read_conv_transpose(b: Builder, node: OnnxNode) -> Tensor:
    """ConvTranspose of images and sequences."""
    weights = b.const(node, 1, "weights")
    table, a, c = source_line(b, b.active(node))
    rank = len(table.shape) - 1
    groups = int(node.attr("group", 1))
    if node.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.attr("output_shape"):
        raise Unreadable(
            "automatic padding; pads and output_padding are supported; write them as numbers"
        )
    if weights.ints is not None and groups > 1 and weights.scale is not None and (
        weights.scale.size > 1
    ):
        raise Unreadable(
            "scales per channel with groups; one scale is supported there; quantise per tensor"
        )
    ints, unit = integers_of(weights, 1, weights.data.shape[1] * groups)
    if rank not in (1, 2) or ints.ndim != rank + 2 or ints.shape[0] != table.shape[0]:
        raise Unreadable(
            f"an input of shape {(1, *table.shape)} with weights {ints.shape}; images and"
            " sequences are supported"
        )
    lift = (1,) * (2 - rank)
    gap = (*lift, *(int(v) for v in node.attr("strides", [1] * rank)))
    dilation = (*lift, *(int(v) for v in node.attr("dilations", [1] * rank)))
    extra = (*(0,) * (2 - rank), *(int(v) for v in node.attr("output_padding", [0] * rank)))
    pads = [int(v) for v in node.attr("pads", [0] * (2 * rank))]
    given = [0] * (2 - rank) + pads[:rank] + [0] * (2 - rank) + pads[rank:]
    ints = ints.reshape(ints.shape[0], ints.shape[1], *lift, *ints.shape[2:])
    depth, per_group = ints.shape[0] // groups, ints.shape[1]
    grouped = ints.reshape(groups, depth, per_group, *ints.shape[2:])
    turned = grouped[..., ::-1, ::-1].transpose(0, 2, 3, 4, 1)
    ohwi = np.ascontiguousarray(turned.reshape(groups * per_group, *ints.shape[2:], depth))
    kernel = (int(ohwi.shape[1]), int(ohwi.shape[2]))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    top, left, bottom, right = (r - p for r, p in zip(reach * 2, given, strict=True))
    window = Window(
        kernel, (1, 1), (dilation[0], dilation[1]),
        (top, left, bottom + extra[0], right + extra[1]),
    )  # fmt: skip
    # pixels lie apart, so zeros are needed even where nothing is padded
    pad = outside(Window(kernel, pad=(1, 1, 1, 1)), a, c)
    source = b.channels_last(table.codes).node
    made = packed(ohwi, weights.grid)
    rows, columns = _rows(table.shape)
    out = window.out_hw(((rows - 1) * gap[0] + 1, (columns - 1) * gap[1] + 1))

    def make(rule: Requant, type_: IntType) -> Op:
        return ConvTranspose2d(made, rule, type_, window, (gap[0], gap[1]), groups, pad)

    return layer(
        "ConvTranspose", ohwi, unit, bias_of(b, node, 2, len(ohwi)),
        (len(ohwi), *out[2 - rank :]), source, (a, c), make,
    )  # fmt: skip


def read_gemm(b: Builder, node: OnnxNode) -> Tensor:
    """Gemm with constant weights."""
    weights = b.const(node, 1, "weights")
    if node.attr("transA", 0):
        raise Unreadable("transA; the input as it is is supported; transpose before exporting")
    columns_last = not node.attr("transB", 0)
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    return dense(
        b, "Gemm", b.active(node), weights, columns_last, alpha,
        lambda n: beta * bias_of(b, node, 2, n),
    )  # fmt: skip


def read_matmul(b: Builder, node: OnnxNode) -> Tensor:
    """MatMul with constant weights behind."""
    if not isinstance(b.tensor(node, 1), Const):
        raise Unreadable(
            "a product of two computed matrices; constant weights behind are supported (attention"
            " is not); use a layer with weights"
        )
    weights = b.const(node, 1, "weights")
    return dense(b, "MatMul", b.active(node), weights, True, 1.0, np.zeros)


def dense(
    b: Builder, what: str, t: Tensor, weights: Const, columns_last: bool, alpha: float,
    bias: Callable[[int], Float64],
) -> Pending:  # fmt: skip
    """A linear layer; ``columns_last`` says that weights are stored (inputs, outputs)."""
    table, a, c = source_line(b, t)
    axis = 1 if columns_last else 0
    if weights.data.ndim != 2:
        raise Unreadable(
            f"weights of shape {weights.data.shape}; a matrix is supported; reshape them"
        )
    ints, unit = integers_of(weights, axis, weights.data.shape[axis])
    rows = ints.T if columns_last else ints
    count = prod(table.shape)
    if table.shape[-1:] != (rows.shape[1],) or count != rows.shape[1]:
        raise Unreadable(
            f"an input of shape {(1, *table.shape)} with weights {weights.data.shape}; a vector of"
            f" {rows.shape[1]} features is supported; flatten before it"
        )
    # the graph keeps channels last: columns of the weights follow the input's memory
    moved = np.ascontiguousarray(rows[:, table.codes.layout.index()])
    source = b.reshaped(table.codes.node, (count,))
    made = packed(moved, weights.grid)
    return layer(
        what, moved, alpha * unit, bias(len(rows)), (*table.shape[:-1], len(rows)), source, (a, c),
        lambda rule, type_: Linear(made, rule, type_),
    )  # fmt: skip


WEIGHTED: dict[str, Callable[[Builder, OnnxNode], Tensor]] = {
    "Conv": read_conv,
    "ConvTranspose": read_conv_transpose,
    "Gemm": read_gemm,
    "MatMul": read_matmul,
}
"""How each operator is read, by its ONNX name."""
