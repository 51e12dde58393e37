# SPDX-License-Identifier: Apache-2.0
"""How the operators with weights and the pools are written, and the table of all writers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..ops.base import Window
from ..ops.conv2d import Conv2d
from ..ops.conv_transpose2d import ConvTranspose2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.linear import Linear
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.tflite_avgpool2d import TfliteAvgPool2d
from ..ops.tflite_weighted import TfliteConv2d, TfliteDepthwiseConv2d, TfliteLinear
from ..ops.weighted import Weights
from ..requant import Int64
from ..tflite_rule import quantize_multiplier
from .tflite_constants import mean_constants
from .tflite_growing import SAME, VALID, File, Write, same_padding
from .tflite_layers import Layer, exact_layer, native_layer
from .tflite_writers_moves import MOVING
from .tflite_writers_pointwise import POINTWISE, write_scaling

Weighted = Conv2d | DepthwiseConv2d | Linear | TfliteConv2d | TfliteDepthwiseConv2d | TfliteLinear


def _layer(f: File, node: Node, op: Weighted) -> Layer:
    source, output = f.info(node), node.output
    linear = isinstance(op, Linear | TfliteLinear)
    if isinstance(op, TfliteConv2d | TfliteDepthwiseConv2d | TfliteLinear):
        return exact_layer(op.weights.values, op.requant, source, output, linear=linear)
    return native_layer(op.weights.values, op.requant, source, output, linear=linear)


def _constants(
    f: File, node: Node, layer: Layer, values: Any, axis: int, *, four_bits: bool = False
) -> list[int]:
    """Tensors of weights and bias."""
    data, type_ = values, "int8"
    if four_bits:  # two codes a byte, low nibble first
        flat = np.append(values.reshape(-1), np.zeros(values.size % 2, np.int8)).reshape(-1, 2)
        data, type_ = (flat[:, 0] & 15) | (flat[:, 1] << 4), "int4"
    scale, wide = layer.bias_scale(f.info(node)), "int64" if f.info(node).wide else "int32"
    return [
        f.tensor(f"{node.name}/weights", values.shape, type_, scale=layer.scale, axis=axis,
                 data=data),
        f.tensor(f"{node.name}/bias", (len(layer.bias),), wide, scale=scale, data=layer.bias),
    ]  # fmt: skip


def _strides(window: Window) -> dict[str, Any]:
    return {
        "strideH": window.stride[0], "strideW": window.stride[1],
        "dilationHFactor": window.dilation[0], "dilationWFactor": window.dilation[1],
    }  # fmt: skip


def write_conv(f: File, node: Node) -> None:
    """CONV_2D; 4-bit weights of imported models stay 4 bits."""
    op = node.op
    assert isinstance(op, Conv2d | TfliteConv2d)
    layer = _layer(f, node, op)
    narrow = isinstance(op, TfliteConv2d) and op.weights.bits == 4 and op.weights.step == 1
    x, padding = f.bordered(node, op.window, op.pad_value)
    constants = _constants(f, node, layer, layer.values, 0, four_bits=narrow)
    version = 7 if narrow else 4 if f.info(node).wide else 3
    f.clamped(node, "CONV_2D", [x, *constants], version, "Conv2DOptions",
              op.requant.lo, op.requant.hi, padding=padding, **_strides(op.window))  # fmt: skip


def write_depthwise(f: File, node: Node) -> None:
    """DEPTHWISE_CONV_2D; MEAN where it is one."""
    op = node.op
    assert isinstance(op, DepthwiseConv2d | TfliteDepthwiseConv2d)
    if isinstance(op, TfliteDepthwiseConv2d) and (f.info(node).wide or node.output.wide) and (
        _is_scaling(f, node, op)
    ):
        write_scaling(f, node, op.requant.lo, op.requant.hi)
        return
    if isinstance(op, TfliteDepthwiseConv2d) and _is_mean(f, node, op):
        axes = f.ints(f"{node.name}/axes", [1, 2])
        f.op("MEAN", [f.source(node), axes], f.result(node), 2, "ReducerOptions", keepDims=True)
        return
    layer = _layer(f, node, op)
    _depthwise(f, node, layer, op.window, op.pad_value, op.requant.lo, op.requant.hi)


def _depthwise(
    f: File, node: Node, layer: Layer, window: Window, pad_value: int, lo: int, hi: int
) -> None:
    x, padding = f.bordered(node, window, pad_value)
    values = np.ascontiguousarray(layer.values.transpose(3, 1, 2, 0))
    version = 4 if f.info(node).wide else 3
    f.clamped(node, "DEPTHWISE_CONV_2D", [x, *_constants(f, node, layer, values, 3)], version,
              "DepthwiseConv2DOptions", lo, hi, padding=padding, **_strides(window),
              depthMultiplier=len(layer.bias) // f.info(node).shape[2])  # fmt: skip


def _is_mean(f: File, node: Node, op: TfliteDepthwiseConv2d) -> bool:
    info, rule, output = f.info(node), op.requant, node.output
    count = info.shape[0] * info.shape[1]
    m, shift = mean_constants(info.scale, output.scale, count)
    return bool(
        op.window == Window((info.shape[0], info.shape[1]))
        and len(rule.m) == info.shape[2]
        and (op.weights.values == 1).all()
        and (rule.bias == -info.zero * count).all()
        and (rule.m == m).all()
        and (rule.shift == shift).all()
        and (rule.z, rule.lo, rule.hi, rule.rounding)
        == (output.zero, output.type.lo, output.type.hi, "double")
    )


def _is_scaling(f: File, node: Node, op: TfliteDepthwiseConv2d) -> bool:
    """Whether a layer only scales codes, by the ratio of the tensors' scales."""
    info, rule, output = f.info(node), op.requant, node.output
    m, shift = quantize_multiplier(float(np.float64(info.scale) / np.float64(output.scale)))
    return bool(
        op.window == Window((1, 1))
        and len(rule.m) == info.shape[2]
        and (op.weights.values == 1).all()
        and (rule.bias == -info.zero).all()
        and (rule.m == m).all()
        and (rule.shift == shift).all()
        and (rule.z, rule.rounding) == (output.zero, "double")
    )


def write_linear(f: File, node: Node) -> None:
    """FULLY_CONNECTED; scales per channel need its version 12."""
    op = node.op
    assert isinstance(op, Linear | TfliteLinear)
    layer = _layer(f, node, op)
    f.clamped(node, "FULLY_CONNECTED", [f.source(node), *_constants(f, node, layer, layer.values,
              0)], 4 if len(layer.scale) == 1 else 12, "FullyConnectedOptions",
              op.requant.lo, op.requant.hi)  # fmt: skip


def write_conv_transpose(f: File, node: Node) -> None:
    """TRANSPOSE_CONV of the whole result, then SLICE; groups and dilation become zero weights."""
    op = node.op
    assert isinstance(op, ConvTranspose2d)
    info, output = f.info(node), node.output
    if op.pad_value != info.zero:
        raise UnsupportedError(
            [f"a border of {op.pad_value}; the input's zero point {info.zero} is supported; lower"
             " the network again"]
        )  # fmt: skip
    reach = [d * (k - 1) for k, d in zip(op.window.kernel, op.window.dilation, strict=True)]
    top, left = (r - p for r, p in zip(reach, op.window.pad, strict=False))
    if min(top, left) < 0:
        raise UnsupportedError(
            [f"padding {op.window.pad} beyond the kernel {op.window.kernel} in front; up to"
             " dilation * (kernel - 1) is supported; pad the result instead"]
        )  # fmt: skip
    values = _dense(op.weights, op.groups, op.window.dilation)
    layer = native_layer(values, op.requant, info, output)
    full = [
        max((size - 1) * gap + 1 + r, first + out)
        for size, gap, r, first, out in zip(
            info.shape, op.gap, reach, (top, left), output.shape, strict=False
        )
    ]
    shape = (*full, output.shape[2])
    # TFLite stores the kernel as it spreads a pixel, which is turned by 180 degrees
    turned = np.ascontiguousarray(layer.values[:, ::-1, ::-1])
    sizes = f.ints(f"{node.name}/size", (1, *shape))
    weights, bias = _constants(f, node, layer, turned, 0)
    cut = shape != output.shape
    x = f.clamped(node, "TRANSPOSE_CONV", [sizes, weights, f.source(node), bias], 3,
                  "TransposeConvOptions", op.requant.lo, op.requant.hi,
                  shape=shape if cut else None, fused=False, padding=VALID,
                  strideH=op.gap[0], strideW=op.gap[1])  # fmt: skip
    if cut:
        begin, size = (f.ints(node.name, v) for v in ((0, top, left, 0), (1, *output.shape)))
        f.op("SLICE", [x, begin, size], f.result(node), 2, "SliceOptions")


def _dense(weights: Weights, groups: int, dilation: tuple[int, int]) -> Int64:
    """OHWI weights of all input channels without gaps between the taps."""
    values = weights.values
    outputs, rows, columns, depth = values.shape
    size = [(n - 1) * d + 1 for n, d in zip((rows, columns), dilation, strict=True)]
    dense = np.zeros((outputs, *size, depth * groups), np.int64)
    for group in range(groups):
        out = slice(group * outputs // groups, (group + 1) * outputs // groups)
        dense[out, :: dilation[0], :: dilation[1], group * depth : (group + 1) * depth] = values[
            out
        ]
    return dense


def write_maxpool(f: File, node: Node) -> None:
    """MAX_POOL_2D."""
    op = node.op
    assert isinstance(op, MaxPool2d)
    info = f.info(node)
    if any(op.window.pad) and same_padding(op.window, info.shape):
        x, padding = f.source(node), SAME
    else:
        x, padding = f.bordered(node, op.window, info.type.lo)
    version = 3 if node.output.wide else 2
    f.op("MAX_POOL_2D", [x], f.result(node), version, "Pool2DOptions", padding=padding,
         **_pool(op.window))  # fmt: skip


def _pool(window: Window) -> dict[str, Any]:
    return {
        "strideH": window.stride[0], "strideW": window.stride[1],
        "filterHeight": window.kernel[0], "filterWidth": window.kernel[1],
    }  # fmt: skip


def write_tflite_avgpool(f: File, node: Node) -> None:
    """AVERAGE_POOL_2D."""
    op = node.op
    assert isinstance(op, TfliteAvgPool2d)
    same = any(op.window.pad)
    if same and not same_padding(op.window, f.info(node).shape):
        raise UnsupportedError(
            [f"an average that leaves out padding {op.window.pad}; SAME and VALID padding are"
             " supported; pad the tensor before it"]
        )  # fmt: skip
    version = 3 if node.output.wide else 2
    f.clamped(node, "AVERAGE_POOL_2D", [f.source(node)], version, "Pool2DOptions", op.lo, op.hi,
              padding=SAME if same else VALID, **_pool(op.window))  # fmt: skip


def write_avgpool(f: File, node: Node) -> None:
    """A depthwise convolution of equal weights, whose multiplier is free."""
    op = node.op
    assert isinstance(op, AvgPool2d)
    info, rule = f.info(node), op.requant
    channels = info.shape[2]
    ones = np.ones((1, *op.window.kernel, 1), np.int64)
    one = native_layer(ones, rule, info, node.output)
    layer = Layer(
        np.repeat(one.values, channels, axis=0), np.repeat(one.bias, channels),
        np.repeat(one.scale, channels),
    )  # fmt: skip
    _depthwise(f, node, layer, op.window, op.pad_value, rule.lo, rule.hi)


def write_input(f: File, node: Node) -> None:
    """The input tensor."""
    f.result(node)


WRITERS: dict[str, Write] = {
    "avgpool2d": write_avgpool,
    "conv2d": write_conv,
    "conv_transpose2d": write_conv_transpose,
    "depthwise_conv2d": write_depthwise,
    "input": write_input,
    "linear": write_linear,
    "maxpool2d": write_maxpool,
    "tflite_avgpool2d": write_tflite_avgpool,
    "tflite_conv2d": write_conv,
    "tflite_depthwise_conv2d": write_depthwise,
    "tflite_linear": write_linear,
    **MOVING,
    **POINTWISE,
}
"""How each operator is written, by kind."""
