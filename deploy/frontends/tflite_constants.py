# SPDX-License-Identifier: Apache-2.0
"""How LiteRT derives the integers of its kernels from the scales of a file, once for both ways.

The readers use these to know what a file computes, the writers to find scales for given integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ops.tflite_elementwise import LEFT
from ..requant import Float64
from ..tflite_rule import quantize_multiplier
from ..types import IntType

ACTIVATIONS = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
"""Fused activations by number: real lower and upper limit."""


def activation_limits(
    activation: int, type_: IntType, scale: float, zero: int
) -> tuple[int, int]:
    """Code limits of a fused activation on a grid (float32, as TFLite computes)."""
    ends = [
        None if end is None else zero + round_away(np.float32(end) / np.float32(scale))
        for end in ACTIVATIONS[activation]
    ]
    low = type_.lo if ends[0] is None else max(type_.lo, ends[0])
    high = type_.hi if ends[1] is None else min(type_.hi, ends[1])
    return low, high


def round_away(value: np.floating[Any]) -> int:
    """Nearest integer, ties away from zero, of a float32."""
    return int(np.floor(abs(value) + np.float32(0.5)) * np.sign(value))


def layer_factors(
    first: float, scales: NDArray[np.float32], out: float, count: int, *, linear: bool
) -> Float64:
    """Output codes per accumulator unit of a layer with weights, per channel.

    A fully connected layer with one weight scale multiplies it with the input's in float32.
    """
    if linear and len(scales) == 1:
        product = np.full(count, np.float64(np.float32(first) * scales[0]))
    else:
        product = np.float64(np.float32(first)) * np.broadcast_to(scales.astype(np.float64), count)
    result: Float64 = product / np.float64(out)
    return result


Pairs = tuple[tuple[int, int, int], tuple[int, int, int]]


def sum_constants(
    scales: Sequence[float], out: float, sign: int, left: int = LEFT[8]
) -> Pairs:
    """(multipliers, shifts) of ADD and SUB: both inputs' and the output's.

    Args:
        scales: of the inputs.
        out: scale of the output.
        sign: -1 for a difference.
        left: bits by which the inputs are widened.
    """
    twice = 2 * max(scales)
    pairs = [quantize_multiplier(s / twice) for s in scales]
    pairs.append(quantize_multiplier(twice / ((1 << left) * out)))
    m = (pairs[0][0], sign * pairs[1][0], pairs[2][0])
    return m, (pairs[0][1], pairs[1][1], pairs[2][1])


def product_constants(first: float, second: float, out: float) -> tuple[int, int]:
    """(multiplier, shift) of MUL, whose input scales are multiplied in float32."""
    product = np.float32(first) * np.float32(second)
    return quantize_multiplier(float(np.float64(product) / np.float64(out)))


def mean_constants(first: float, out: float, count: int) -> tuple[int, int]:
    """(multiplier, shift) of MEAN over ``count`` values."""
    m, shift = quantize_multiplier(float(np.float64(np.float32(first)) / np.float64(
        np.float32(out))))  # fmt: skip
    # LiteRT divides the multiplier by the count, with as many extra bits as the count has
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (m << extra) // count, shift - extra
