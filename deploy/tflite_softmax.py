# SPDX-License-Identifier: Apache-2.0
"""Fixed-point exponential and reciprocal as TFLite's reference softmax computes them.

A number with k integer bits is ``raw / 2^(31-k)``. Method: gemmlowp's fixedpoint library
(exponential by a polynomial on [-1/4, 0) and a product of exp(-2^i), reciprocal by three Newton
steps), as used by TensorFlow Lite.
"""

from __future__ import annotations

from math import floor

import numpy as np

from .requant import Int64
from .tflite_rule import divide_power, high_product, quantize_multiplier, scale

DIFF_BITS = 5
"""Integer bits of the scaled difference to the row's maximum."""
SUM_BITS = 12
"""Integer bits of the sum of exponentials."""
ONE = (1 << 31) - 1
EXP_EIGHTH = 1895147668
THIRD = 715827883
FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-2^i) for i = -2..4, no integer bits."""
NEWTON_START = (1515870810, -1010580540)
"""48/17 and -32/17, two integer bits."""


def exp_table(input_scale: float, beta: float) -> Int64:
    """exp(-d * beta * input_scale) for code differences d = 0, 1, ..., no integer bits.

    Differences beyond the table count as 0 in TFLite.
    """
    real = min(beta * input_scale * 2.0 ** (31 - DIFF_BITS), 2.0**31 - 1)
    m, shift = quantize_multiplier(real)
    radius = floor(((1 << DIFF_BITS) - 1) * 2.0 ** (31 - DIFF_BITS) / 2.0**shift)
    differences = -np.arange(min(radius, 255) + 1, dtype=np.int64)
    return exp_of_negative(scale(differences, m, shift, "double"))


def exp_of_negative(a: Int64) -> Int64:
    """Exponential of ``a <= 0`` with 5 integer bits; the result has none."""
    bits = 31 - DIFF_BITS
    quarter = 1 << (bits - 2)
    part = (a & (quarter - 1)) - quarter
    x = (part << DIFF_BITS) + (1 << 28)
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    tail = divide_power(high_product(divide_power(x4, 2) + x3, THIRD) + x2, 1)
    result = EXP_EIGHTH + high_product(x + tail, EXP_EIGHTH)
    rest = part - a
    for i, factor in enumerate(FACTORS):
        taken = (rest >> (bits - 2 + i)) & 1
        result = np.where(taken == 1, high_product(result, factor), result)
    return np.where(a == 0, ONE, result)


def reciprocal(total: Int64) -> tuple[Int64, Int64]:
    """(1/(1+x) without integer bits, bits over unit) of sums with 12 integer bits, sums > 0."""
    zeros = 31 - np.floor(np.log2(total.astype(np.float64))).astype(np.int64)
    a = (total << zeros) - (1 << 31)
    half = (a + ONE + 1) // 2
    x = NEWTON_START[0] + high_product(half, NEWTON_START[1])
    for _ in range(3):
        error = (1 << 29) - high_product(half, x)
        x = x + np.clip(high_product(x, error) << 2, -ONE - 1, ONE)
    return np.clip(x << 1, -ONE - 1, ONE), SUM_BITS - zeros
