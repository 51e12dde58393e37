# SPDX-License-Identifier: Apache-2.0
"""Sums and products of two tensors in TFLite's arithmetic, with broadcasting of the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..tflite_rule import INT32, rounding_helpers, rounding_problems, scale
from ..types import IntArray, IntType
from .base import Bound, CPlan, TensorInfo
from .broadcast import BroadcastOp, broadcast_loops

LEFT = {8: 20, 16: 15}
"""Bits by which TFLite widens the inputs of a sum, by the bits of the result's container."""


@dataclass(frozen=True, eq=False)
class TfliteAdd(BroadcastOp):
    """``y = clamp(scale(sum_i scale((x_i - zero_i) << k, m_i, shift_i), m, shift) + z)``.

    k is 20, of 16-bit sums 15. A difference has a negative second multiplier.

    Attributes:
        zeros: zero points of the inputs.
        m: two input multipliers and the output's.
        shift: their shifts, none above 0.
        z: zero point of the output.
        lo: smallest output code.
        hi: largest output code.
        rounding: ``double`` or ``single``.
        out_type: type of the output codes.
    """

    zeros: tuple[int, int]
    m: tuple[int, int, int]
    shift: tuple[int, int, int]
    z: int
    lo: int
    hi: int
    rounding: str
    out_type: IntType
    kind: ClassVar[str] = "tflite_add"
    widest: ClassVar[int] = 16

    @property
    def left(self) -> int:
        """Bits by which the inputs are widened."""
        return LEFT[self.out_type.container_bits]

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The formula, element by element."""
        total = np.zeros((), np.int64)
        for x, zero, m, shift in zip(inputs, self.zeros, self.m, self.shift, strict=False):
            total = total + scale((x.astype(np.int64) - zero) << self.left, m, shift, self.rounding)
        y = scale(np.asarray(total), self.m[2], self.shift[2], self.rounding) + self.z
        return np.clip(y, self.lo, self.hi)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The widened inputs and their sum."""
        wide = [
            max(abs(t.type.lo - z), abs(t.type.hi - z)) << self.left
            for t, z in zip(inputs, self.zeros, strict=True)
        ]
        scaled = [abs(int(scale(np.array(w), m, s, self.rounding))) + 1
                  for w, m, s in zip(wide, self.m, self.shift, strict=False)]  # fmt: skip
        return [Bound("widened input", max(wide)), Bound("sum", sum(scaled))]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Limits of the rule."""
        found = rounding_problems(self.rounding, self.lo, self.hi)
        large = max(abs(m) for m in self.m) >= INT32
        if large or min(self.shift) < -31 or max(self.shift) > 0:
            found.append("a multiplier outside int32 or a shift outside -31..0")
        if self.lo < self.out_type.lo or self.hi > self.out_type.hi:
            found.append(f"clamp outside the output type {self.out_type}")
        return found

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loop."""
        return CPlan(
            self.kind,
            {
                **broadcast_loops(inputs, output), "zeros": self.zeros, "m": self.m,
                "shift": self.shift, "factor": 1 << self.left, "zero": self.z, "lo": self.lo,
                "hi": self.hi, "rounding": self.rounding,
            },
            helpers=rounding_helpers(self.rounding),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class TfliteMul(BroadcastOp):
    """``y = clamp(scale((a - zero_a) * (b - zero_b), m, shift) + z)``; the rest as `TfliteAdd`."""

    zeros: tuple[int, int]
    m: int
    shift: int
    z: int
    lo: int
    hi: int
    rounding: str
    out_type: IntType
    kind: ClassVar[str] = "tflite_mul"
    widest: ClassVar[int] = 16

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The formula, element by element."""
        a, b = (x.astype(np.int64) - z for x, z in zip(inputs, self.zeros, strict=True))
        y = scale(np.asarray(a * b), self.m, self.shift, self.rounding) + self.z
        return np.clip(y, self.lo, self.hi)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The widened product."""
        reach = [
            max(abs(t.type.lo - z), abs(t.type.hi - z))
            for t, z in zip(inputs, self.zeros, strict=True)
        ]
        return [Bound("product", (reach[0] * reach[1]) << max(self.shift, 0))]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Limits of the rule."""
        found = rounding_problems(self.rounding, self.lo, self.hi)
        if not 0 <= self.m < INT32 or not -31 <= self.shift <= 30:
            found.append("a multiplier outside int32 or a shift outside -31..30")
        if self.lo < self.out_type.lo or self.hi > self.out_type.hi:
            found.append(f"clamp outside the output type {self.out_type}")
        return found

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loop."""
        return CPlan(
            self.kind,
            {
                **broadcast_loops(inputs, output), "zeros": self.zeros, "m": self.m,
                "shift": self.shift, "zero": self.z, "lo": self.lo, "hi": self.hi,
                "rounding": self.rounding,
            },
            helpers=rounding_helpers(self.rounding),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )  # fmt: skip
