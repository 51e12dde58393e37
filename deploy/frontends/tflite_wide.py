# SPDX-License-Identifier: Apache-2.0
"""Changes of scale of 16-bit activations, where a table of all codes would be too large."""

from __future__ import annotations

import numpy as np

from ..ops.base import Window
from ..ops.requantize import Requantize
from ..ops.source import Reshape
from ..ops.tflite_weighted import TfliteDepthwiseConv2d
from ..ops.weighted import Weights
from ..requant import snap
from ..tflite_rule import TfliteRequant, quantize_multiplier
from .tflite import Builder
from .tflite_file import TfOperator


def add_scaling(b: Builder, op: TfOperator, limits: tuple[int, int]) -> None:
    """The node of an operator that scales its input's codes and limits them.

    In TFLite's rounding it is a depthwise convolution with one weight of 1 per channel.
    """
    source = b.source(op)
    info, channels = source.output, source.output.shape[-1]
    type_, out_scale, zero = b.grid(b.tensor(op.outputs[0]), any_sign=True)
    ratio = float(np.float64(info.scale) / np.float64(out_scale))
    name = b.tensor(op.outputs[0]).name
    if not b.exact:
        low, high = (np.full(channels, end) for end in (info.type.lo, info.type.hi))
        own = snap(np.full(channels, ratio), np.full(channels, -ratio * info.zero), low, high,
                   zero=zero, lo=limits[0], hi=limits[1], name=name)  # fmt: skip
        b.add(op, Requantize(own, type_), (source,))
        return
    m, shift = quantize_multiplier(ratio)
    rule = TfliteRequant(
        np.full(channels, -info.zero), np.full(channels, m), np.full(channels, shift), zero,
        *limits, "double",
    )  # fmt: skip
    ones = Weights(np.ones((channels, 1, 1, 1), np.uint8), 1, 1, 0)
    scaled = TfliteDepthwiseConv2d(ones, rule, type_, Window((1, 1)))
    if len(info.shape) == 3:
        b.add(op, scaled, (source,))
        return
    flat = (info.size // channels, 1, channels)
    tag = f"{name}/{op.outputs[0]}"
    node = b.step(f"image_{op.outputs[0]}", Reshape(flat), (source,), info.scale, info.zero, tag)
    node = b.step(f"scaled_{op.outputs[0]}", scaled, (node,), out_scale, zero, tag)
    b.add(op, Reshape(info.shape), (node,))
