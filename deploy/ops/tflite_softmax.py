# SPDX-License-Identifier: Apache-2.0
"""Softmax over the last axis in TFLite's fixed-point arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..requant import Int64
from ..tflite_rule import divide_power, high_product
from ..tflite_softmax import NEWTON_START, SUM_BITS, reciprocal
from ..types import IntArray, IntType
from .base import Bound, CArray, CPlan, Op, TensorInfo, need


@dataclass(frozen=True, eq=False)
class TfliteSoftmax(Op):
    """``y = clamp(nearest(e * r / 2^(k + 23)) - 128)``.

    ``e = table[max - x]`` (0 beyond the table), ``r, k`` the reciprocal of the sum of all ``e``,
    each first divided by 2^12 (`adaqat.deploy.tflite_softmax`).

    Attributes:
        table: int64, exponential of the negated code difference, 31 fractional bits.
    """

    table: Int64
    kind: ClassVar[str] = "tflite_softmax"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The input's shape; codes are s8."""
        need(
            inputs[0].type == IntType(8, True),
            f"{self.kind}: {inputs[0].type} codes; s8 is supported",
        )
        return inputs[0].shape, inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Row by row."""
        x = inputs[0].astype(np.int64)
        padded = np.append(self.table, np.zeros(256 - len(self.table), np.int64))
        e = padded[x.max(axis=-1, keepdims=True) - x]
        sums = divide_power(e, SUM_BITS).sum(axis=-1, keepdims=True)
        r, over = reciprocal(sums)
        return np.clip(divide_power(high_product(e, r), over + 23) - 128, -128, 127)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The sum of exponentials."""
        return [Bound("sum of exponentials", inputs[0].shape[-1] << (31 - SUM_BITS))]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """The table's length and range."""
        if not 1 <= len(self.table) <= 256:
            return [f"a table of {len(self.table)} entries; 1 to 256 are supported"]
        if self.table.min() < 0 or self.table.max() >= 1 << 31 or self.table[0] < 1 << 30:
            return ["table entries outside int32, or a first one below 1/2"]
        return []

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return elementwise_work(self.kind, output.size, 1, 8, True, 4 * len(self.table))

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops and the table."""
        channels = output.shape[-1]
        table = CArray(
            "exp", "int32_t", tuple(int(v) for v in self.table),
            "exponential of the negated code difference, 31 fractional bits",
        )  # fmt: skip
        return CPlan(
            self.kind,
            {
                "rows": output.size // channels, "channels": channels, "length": len(self.table),
                "start": NEWTON_START[0], "slope": NEWTON_START[1],
                # a sum of 2^28 or more would shift by 32: every code is the lowest then
                "wide": channels << (31 - SUM_BITS) >= 1 << 28,
            },
            (table,),
            (("clamp", ()), ("tflite_divide", ()), ("tflite_product", ())),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )  # fmt: skip
