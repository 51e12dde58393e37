# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...hw_models.work import GROUP, Work, linear_work, padded
from ..types import IntArray, IntType
from .base import CPlan, TensorInfo, Window, need
from .weighted import (
    WeightedOp,
    check_requant_length,
    exact_matmul,
    product_reach,
    requant_helpers,
    requant_plan,
)

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Linear(WeightedOp):
    """``acc[o] = sum w[o,i] * x[i]``, weights OI, input ``(I,)``."""

    kind: ClassVar[str] = "linear"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(O,) and the output type."""
        codes, shape = self.weights.codes, inputs[0].shape
        need(
            len(shape) == 1 and codes.ndim == 2 and codes.shape[1] == shape[0],
            f"{self.kind}: input shape {shape}, weights {codes.shape}; (I,) and OI are supported;"
            " flatten before it",
        )
        check_requant_length(self.kind, self.requant, codes.shape[0])
        return (int(codes.shape[0]),), self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """One exact matrix product."""
        values = self.weights.values
        reach = product_reach(values, inputs[0])
        return self.requant.apply(exact_matmul(inputs[0], values, reach))

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        source = inputs[0]
        return linear_work(
            source.size, output.size, self.weights.bits, source.type.bits, source.type.signed,
            kernels,
        )  # fmt: skip

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """A convolution over an image of one pixel."""
        from ..rtl.weighted import plan_weighted

        window = Window((1, 1))
        return plan_weighted(self, inputs[0], output, fold, window=window, groups=1, pad=0)

    def fold_limits(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> tuple[int, int]:
        """All outputs, all inputs."""
        return output.size, inputs[0].size

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the row loop."""
        source = inputs[0]
        row = source.size
        values, arrays = requant_plan(self.requant)
        return CPlan(
            "linear",
            {
                **values,
                "row": row,
                "outputs": output.size,
                "tail": padded(row) - row,
                "blocks": padded(row) // GROUP,
                "row_bytes": padded(row) // GROUP * self.weights.bits,
                "step": self.weights.step,
                "offset": self.weights.offset,
                "tag": f"w{self.weights.bits}{'s' if source.type.signed else 'u'}",
            },
            (self.weights.packed(), *arrays),
            (*requant_helpers(self.requant), self.dot_helper(source.type)),
            padded(row) if row % GROUP else 0,
            self.proof(inputs),
        )
