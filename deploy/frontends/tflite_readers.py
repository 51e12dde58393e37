# SPDX-License-Identifier: Apache-2.0
"""Readers of the .tflite operators with weights, and the table of all readers.

The constants are derived as LiteRT derives them when it prepares its kernels; where its code
multiplies two scales in float32 (a fully connected layer with one scale), so does this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Node
from ..ops.base import Op, Window
from ..ops.conv2d import Conv2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.linear import Linear
from ..ops.source import Reshape
from ..ops.tflite_weighted import TfliteConv2d, TfliteDepthwiseConv2d, TfliteLinear
from ..ops.weighted import Weights, accumulator_bounds
from ..requant import Requant, snap
from ..tflite_rule import TfliteRequant, quantize_multipliers
from .tflite import INT16, Builder, Unreadable
from .tflite_constants import layer_factors
from .tflite_elementwise import ELEMENTWISE
from .tflite_file import TfOperator
from .tflite_functions import FUNCTIONS
from .tflite_moves import MOVES
from .tflite_tables import TABLES
from .tflite_upsample import UPSAMPLING
from .tflite_weights import read_bias, read_weights
from .tflite_window import SAME, same_window


def read_conv(b: Builder, op: TfOperator) -> None:
    """CONV_2D: weights OHWI."""
    source, weights, values = b.source(op), *read_weights(b, op, 0)
    groups = source.output.shape[-1] // values.shape[3]
    window = _window(op, values.shape[1:3], source, 4, op.option(2), op.option(1))
    b.add(op, _layer(b, op, source, weights, op.option(3, "b"), window, groups), (source,))


def read_depthwise(b: Builder, op: TfOperator) -> None:
    """DEPTHWISE_CONV_2D: weights 1HWO."""
    source = b.source(op)
    weights, values = read_weights(b, op, 3)
    moved = Weights(
        np.ascontiguousarray(weights.codes.transpose(3, 1, 2, 0)), weights.bits, 1, weights.offset
    )
    window = _window(op, values.shape[1:3], source, 5, op.option(2), op.option(1))
    b.add(op, _layer(b, op, source, moved, op.option(4, "b"), window, 0), (source,))


def read_linear(b: Builder, op: TfOperator) -> None:
    """FULLY_CONNECTED: weights OI; the input is flattened."""
    if op.option(1, "b"):
        raise Unreadable("shuffled weights; the default format is supported; export it again")
    source = b.flat(b.source(op))
    weights, _ = read_weights(b, op, 0)
    b.add(op, _layer(b, op, source, weights, op.option(0, "b"), None, 1), (source,))


def _layer(
    b: Builder,
    op: TfOperator,
    source: Node,
    weights: Weights,
    activation: int,
    window: Window | None,
    groups: int,
) -> Op:
    """The operator of a weighted layer in the builder's rounding; ``groups`` 0 is depthwise."""
    tensor = b.tensor(op.outputs[0])
    type_, scale, zero = b.grid(tensor)
    if type_ != source.output.type:
        raise Unreadable(
            f"{source.output.type} input and {type_} output; one type for both is supported; add"
            " a QUANTIZE"
        )
    lo, hi = b.limits(activation, tensor)
    values = weights.values
    count = len(values)
    bias = read_bias(b, op, count) - source.output.zero * values.reshape(count, -1).sum(axis=1)
    scales = b.tensor(op.inputs[1]).scale
    factors = layer_factors(source.output.scale, scales, scale, count, linear=window is None)
    pad = source.output.zero
    if b.exact:
        m, shift = quantize_multipliers(factors)
        rounding = "single" if window is None else "double"
        if source.output.type == INT16:
            if (m == 0).any():
                raise Unreadable(
                    "a factor below 2^-31 with 16-bit activations; larger ones are supported;"
                    " quantise the weights again"
                )
            rounding = "long" if window is None else "short"
        rule = TfliteRequant(bias, m, shift, zero, lo, hi, rounding)
        if window is None:
            return TfliteLinear(weights, rule, type_)
        if groups == 0:
            return TfliteDepthwiseConv2d(weights, rule, type_, window, pad)
        return TfliteConv2d(weights, rule, type_, window, groups, pad)
    low, high = accumulator_bounds(values, source.output.type)
    own: Requant = snap(factors, factors * bias, low, high, zero=zero, lo=lo, hi=hi,
                        name=tensor.name)  # fmt: skip
    if window is None:
        return Linear(weights, own, type_)
    if groups == 0:
        return DepthwiseConv2d(weights, own, type_, window, pad)
    return Conv2d(weights, own, type_, window, groups, pad)


def _window(
    op: TfOperator, kernel: tuple[int, ...], source: Node, dilation: int, rows: int, columns: int
) -> Window:
    """Geometry of a convolution; ``dilation`` is the field of the horizontal dilation."""
    dilations = (op.option(dilation + 1, default=1), op.option(dilation, default=1))
    return same_window(
        op.option(0, "b") == SAME, source, (kernel[0], kernel[1]), (rows, columns), dilations
    )


def read_reshape(b: Builder, op: TfOperator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the same memory under the declared shape."""
    shape = b.shape(b.tensor(op.outputs[0]))
    b.add(op, Reshape(shape), (b.source(op),))


READERS: dict[str, Callable[[Builder, TfOperator], None]] = {
    "CONV_2D": read_conv,
    "DEPTHWISE_CONV_2D": read_depthwise,
    "EXPAND_DIMS": read_reshape,
    "FULLY_CONNECTED": read_linear,
    "RESHAPE": read_reshape,
    "SQUEEZE": read_reshape,
    **ELEMENTWISE,
    **FUNCTIONS,
    **MOVES,
    **TABLES,
    **UPSAMPLING,
}
"""How each operator is read, by its name in the schema."""
