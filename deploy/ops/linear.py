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
    Weights,
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
    widest: ClassVar[int] = 16
    unrolls: ClassVar[bool] = True

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
        values = self.weights.narrow
        reach = product_reach(values, inputs[0])
        return self.requant.apply(exact_matmul(inputs[0], values, reach), self.out_type.dtype)

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
        values, arrays = requant_plan(self.requant)
        reading, scratch = linear_values(self.weights, inputs[0])
        return CPlan(
            "linear",
            {**values, **reading},
            (self.weights.packed(), *arrays),
            (*requant_helpers(self.requant), self.weights.dot_helper(inputs[0].type)),
            scratch,
            self.proof(inputs),
        )


def linear_values(weights: Weights, source: TensorInfo) -> tuple[dict[str, object], int]:
    """(template literals of the row loop, bytes of the padded copy of the input)."""
    row = source.size
    return {
        "row": row,
        "outputs": weights.codes.shape[0],
        "tail": padded(row) - row,
        "blocks": padded(row) // GROUP,
        "row_bytes": padded(row) // GROUP * weights.bits,
        "step": weights.step,
        "offset": weights.offset,
        "tag": weights.dot_tag(source.type),
    }, padded(row) * source.type.bytes_ if row % GROUP else 0
