# SPDX-License-Identifier: Apache-2.0
"""Pointwise functions as tables: one entry per input code, for all channels or for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..requant import Float64, Int64, round_half_up
from ..types import IntArray, IntType
from .base import CArray, CPlan, Op, TensorInfo, need

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Lookup(Op):
    """``y = table[c, x - lowest input code]``, or ``table[0, ..]`` for every channel.

    Attributes:
        table: int64 ``[1 or C, 2^bits]``, output codes.
        out_type: type of the output codes.
    """

    table: Int64
    out_type: IntType
    kind: ClassVar[str] = "lookup"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The input's shape and the output type."""
        source = inputs[0]
        need(
            self.table.ndim == 2
            and len(self.table) in (1, source.shape[-1])
            and self.table.shape[1] == 1 << source.type.bits,
            f"lookup: a table {self.table.shape} for {source.type} codes of {source.shape[-1]}"
            " channels; one entry per code, one row or one per channel are supported",
        )
        return source.shape, self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Indexing."""
        # an unsigned container of b bits starts at 0, a signed one at -2^(b-1)
        x = inputs[0].astype(np.int64)
        index = x + (self.table.shape[1] // 2 if inputs[0].dtype.kind == "i" else 0)
        row = np.arange(x.shape[-1]) if len(self.table) > 1 else 0
        result: IntArray = self.table[row, index]
        return result

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Entries must be codes of the output type."""
        if not self.out_type.contains(self.table):
            return [f"table entries outside the output type {self.out_type}"]
        return []

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        return elementwise_work(
            self.kind, output.size, 1, type_.bits, type_.signed, self.table.size
        )

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """A memory for every lane."""
        from ..rtl.movement import plan_lookup

        return plan_lookup(self, inputs[0], output, fold.pe)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """The table, and the loop over elements or channels."""
        rows, length = self.table.shape
        table = CArray(
            "table", self.out_type.c_name, tuple(int(v) for v in self.table.reshape(-1)),
            f"output code per input code, from {inputs[0].type.lo} upwards",
        )  # fmt: skip
        channels = output.shape[-1] if rows > 1 else output.size
        return CPlan(
            self.kind,
            {
                "pixels": output.size // channels, "channels": channels, "length": length,
                "offset": -inputs[0].type.lo, "rows": rows,
            },
            (table,),
        )  # fmt: skip


def tabulate(
    function: Callable[[Float64], Float64],
    source: TensorInfo,
    out_type: IntType,
    scale: float,
    zero: int = 0,
    *,
    lo: int | None = None,
    hi: int | None = None,
) -> Lookup:
    """The table of a real function between two grids.

    Entry = clamp(floor(function(source.scale * (code - source.zero)) / scale + 0.5) + zero),
    in float64.

    Args:
        function: maps real inputs ``[2^bits]`` to ``[2^bits]`` or ``[C, 2^bits]``.
        source: the input tensor.
        out_type: type of the output codes.
        scale: real size of one output code.
        zero: zero point of the output.
        lo: smallest output code, by default the type's.
        hi: largest output code, by default the type's.
    """
    codes = np.arange(source.type.lo, source.type.hi + 1, dtype=np.float64)
    real = np.atleast_2d(function((codes - source.zero) * source.scale))
    entries = round_half_up(real / scale) + zero
    low = out_type.lo if lo is None else lo
    high = out_type.hi if hi is None else hi
    return Lookup(np.clip(entries, low, high).astype(np.int64), out_type)
