# SPDX-License-Identifier: Apache-2.0
"""TFLite's arithmetic: the roundings of LiteRT's reference kernels (BUILTIN_REF), defined once.

A real factor becomes ``m * 2^(shift - 31)`` with ``2^30 <= m < 2^31``. Two roundings exist::

    high(x, m) = floor((x*m + 2^30) / 2^31)
    double:  nearest(high(x << max(shift, 0), m) / 2^max(-shift, 0)), ties away from zero
    single:  floor((x*m + 2^(30-shift)) / 2^(31-shift))
    short:   floor((x*n + 2^(14-shift)) / 2^(15-shift)),  n = min(floor((m + 2^15) / 2^16), 32767)
    long:    as single, of a sum of more than 32 bits

``short`` and ``long`` serve 16-bit activations: x has 64 bits there, of which 48 may be used.

Networks trained here never use them (`requant.py` is cheaper on every core); they serve imported
models that must keep their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np

from .requant import Float64, Int64

INT32 = 1 << 31
WIDE = ("short", "long")
"""Roundings of sums of up to 48 bits."""
ROUNDINGS = ("double", "single", *WIDE)
WIDE_LIMIT = (1 << 47) - 1
"""Largest accumulator of the wide roundings."""
WIDE_SHIFT = 7
"""Largest shift of the wide roundings."""


def quantize_multiplier(factor: float) -> tuple[int, int]:
    """(m, shift) nearest to a factor >= 0; ties away from zero, too small factors become 0."""
    if factor == 0:
        return 0, 0
    mantissa, shift = frexp(factor)
    m = int(np.floor(mantissa * INT32 + 0.5))
    if m == INT32:
        m, shift = m // 2, shift + 1
    return (0, 0) if shift < -31 else (m, shift)


def quantize_multipliers(factors: Float64) -> tuple[Int64, Int64]:
    """`quantize_multiplier` of every factor."""
    pairs = [quantize_multiplier(float(factor)) for factor in factors]
    m, shift = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    return m, shift


def high_product(x: Int64, m: Int64 | int) -> Int64:
    """Rounded upper half of the doubled product of two int32."""
    result: Int64 = (x * m + (1 << 30)) >> 31
    return result


def divide_power(x: Int64, exponent: Int64 | int) -> Int64:
    """``x / 2^exponent`` to the nearest, ties away from zero."""
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    up = (x & mask) > (mask >> 1) + (x < 0)
    result: Int64 = (x >> np.asarray(exponent, np.int64)) + up
    return result


def short_multiplier(m: Int64 | int) -> Int64:
    """The 15-bit multiplier of the rounding ``short``."""
    short: Int64 = np.minimum((np.asarray(m, np.int64) + (1 << 15)) >> 16, 0x7FFF)
    return short


def scale(x: Int64, m: Int64 | int, shift: Int64 | int, rounding: str) -> Int64:
    """``x * m * 2^(shift - 31)`` in one of the four roundings."""
    if rounding == "short":
        right = 15 - np.asarray(shift, np.int64)
        wide: Int64 = (x * short_multiplier(m) + (np.int64(1) << (right - 1))) >> right
        return wide
    if rounding == "long":  # the low 16 bits of x apart, so that both products fit 64 bits
        right = 31 - np.asarray(shift, np.int64)
        part = (x >> 16) * m + (((x & 0xFFFF) * m) >> 16) + (np.int64(1) << (right - 17))
        return np.asarray(part >> (right - 16), np.int64)
    left = np.maximum(shift, 0)
    if rounding == "single":
        total = 31 - np.asarray(shift, np.int64)
        result: Int64 = (x * m + (np.int64(1) << (total - 1))) >> total
        return result
    return divide_power(high_product(x << left, m), np.maximum(-np.asarray(shift), 0))


@dataclass(frozen=True, eq=False)
class TfliteRequant:
    """Constants per output channel: ``y = clamp(scale(acc + bias, m, shift) + z, lo, hi)``.

    Attributes:
        bias: int64 ``[C]``, with ``-zero * sum(weights)`` of the input's zero point included.
        m: int64 ``[C]``, 0 or 2^30..2^31-1.
        shift: int64 ``[C]``, -31..30.
        z: zero point of the output.
        lo: smallest output code.
        hi: largest output code.
        rounding: one of `ROUNDINGS`.
    """

    bias: Int64
    m: Int64
    shift: Int64
    z: int
    lo: int
    hi: int
    rounding: str

    def apply(self, acc: Int64) -> Int64:
        """Apply to accumulators ``[..., C]``."""
        y = scale(acc + self.bias, self.m, self.shift, self.rounding) + self.z
        return np.clip(y, self.lo, self.hi)

    def reach(self, acc_lo: Int64, acc_hi: Int64) -> int:
        """Largest magnitude of any int32 that the rule forms for accumulators within bounds."""
        ends = np.stack([acc_lo, acc_hi]) + self.bias
        if self.rounding in WIDE:
            ends = np.clip(ends, -WIDE_LIMIT, WIDE_LIMIT)
            wide = np.abs(scale(ends, self.m, self.shift, self.rounding)) + abs(self.z)
            return int(wide.max(initial=0))
        shifted = np.abs(ends) << np.maximum(self.shift, 0)
        scaled = np.abs(scale(ends, self.m, self.shift, self.rounding)) + abs(self.z)
        return int(max(shifted.max(initial=0), scaled.max(initial=0)))

    def problems(self) -> list[str]:
        """What breaks the rule's own limits, in words."""
        found = rounding_problems(self.rounding, self.lo, self.hi)
        if len({len(self.bias), len(self.m), len(self.shift)}) != 1:
            found.append("constants of different lengths")
        if self.m.min(initial=0) < 0 or self.m.max(initial=0) >= INT32:
            found.append("a multiplier outside 0..2^31-1")
        if self.shift.min(initial=0) < -31 or self.shift.max(initial=0) > 30:
            found.append("a shift outside -31..30")
        if self.rounding in WIDE:
            if self.shift.max(initial=0) > WIDE_SHIFT:
                found.append(f"a shift above {WIDE_SHIFT}, the largest with wide sums")
            if np.abs(self.bias).max(initial=0) > WIDE_LIMIT:
                found.append("a bias above 2^47")
        elif np.abs(self.bias).max(initial=0) >= INT32:
            found.append("a bias outside int32")
        return found


def rounding_problems(rounding: str, lo: int, hi: int) -> list[str]:
    """Broken rules that every operator with TFLite's arithmetic shares."""
    found = []
    if rounding not in ROUNDINGS:
        found.append(f"rounding {rounding!r}; {', '.join(ROUNDINGS)} are supported")
    if lo > hi:
        found.append(f"empty output range {lo}..{hi}")
    return found


def rounding_helpers(rounding: str) -> tuple[tuple[str, tuple[()]], ...]:
    """Shared C functions that apply `scale`, those called first in front."""
    if rounding != "double":
        return (("clamp", ()), (f"tflite_{rounding}", ()))
    return (("clamp", ()), ("tflite_divide", ()), ("tflite_double", ()))
