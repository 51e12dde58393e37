# SPDX-License-Identifier: Apache-2.0
"""Softmax along the last axis, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..requant import Int64, round_half_up
from ..types import IntArray, IntType
from .base import Bound, CArray, CPlan, Op, TensorInfo, need

ONE = 1 << 15
"""The exponential of 0 in the table."""


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """``e = table[max - x]``; ``y = min(floor((e * 2^bits + sum/2) / sum), 2^bits - 1)``.

    The result is unsigned with scale ``2^-bits``.

    Attributes:
        table: int64 ``[2^input bits]``, ``round(2^15 * exp(-d * scale))``.
        out_type: unsigned.
    """

    table: Int64
    out_type: IntType
    kind: ClassVar[str] = "softmax"

    @classmethod
    def of(cls, source: TensorInfo, bits: int = 8) -> Softmax:
        """The operator for an input tensor; its result has scale ``2^-bits``, zero point 0."""
        steps = np.arange(1 << source.type.bits)
        table = round_half_up(ONE * np.exp(-steps * source.scale)).astype(np.int64)
        return cls(table, IntType(bits, False))

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The input's shape and the output type."""
        need(
            self.table.shape == (1 << inputs[0].type.bits,) and not self.out_type.signed,
            f"softmax: a table of {self.table.size} entries for {inputs[0].type} codes and"
            f" {self.out_type} results; one entry per difference and an unsigned result are"
            " supported",
        )
        return inputs[0].shape, self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Row by row, in int64."""
        x = inputs[0].astype(np.int64)
        e = self.table[x.max(axis=-1, keepdims=True) - x]
        total = e.sum(axis=-1, keepdims=True)
        y = ((e << self.out_type.bits) + total // 2) // total
        return np.asarray(np.minimum(y, self.out_type.hi))

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The sum, and the numerator of the division."""
        total = inputs[0].shape[-1] * ONE
        return [
            Bound("sum of exponentials", total),
            Bound("numerator", (ONE << self.out_type.bits) + total // 2),
        ]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """The table's range."""
        if self.table.min() < 0 or self.table.max() > ONE or self.table[0] != ONE:
            return [f"table entries outside 0..{ONE}, or not {ONE} for 0"]
        return []

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        return elementwise_work(
            self.kind, output.size, 1, type_.bits, type_.signed, 2 * self.table.size
        )

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops and the table."""
        channels = output.shape[-1]
        table = CArray(
            "exp", "uint16_t", tuple(int(v) for v in self.table),
            "2^15 times the exponential of the negated code difference",
        )  # fmt: skip
        return CPlan(
            self.kind,
            {
                "rows": output.size // channels, "channels": channels,
                "bits": self.out_type.bits, "hi": self.out_type.hi,
            },
            (table,),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )  # fmt: skip
