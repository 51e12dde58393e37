# SPDX-License-Identifier: Apache-2.0
"""Per-channel affine map of codes: a BatchNorm that stands alone, or a change of grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work, requant_bytes
from ..requant import Requant
from ..types import IntArray, IntType
from .base import Bound, CPlan, Op, TensorInfo
from .weighted import (
    check_requant_length,
    requant_helpers,
    requant_plan,
    requant_problems,
)

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Requantize(Op):
    """The requantisation rule with the input code as the accumulator, per last-axis channel."""

    requant: Requant
    out_type: IntType
    kind: ClassVar[str] = "requantize"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The input's shape and the output type."""
        check_requant_length(self.kind, self.requant, inputs[0].shape[-1])
        return inputs[0].shape, self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The rule, element by element."""
        return self.requant.apply(inputs[0], self.out_type.dtype)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The shifted code with bias."""
        type_, channels = inputs[0].type, len(self.requant.m)
        low, high = np.full(channels, type_.lo), np.full(channels, type_.hi)
        return [Bound("shifted code with bias", self.requant.t_bound(low, high))]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Requantiser limits."""
        return requant_problems(self.requant, self.out_type)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        bytes_ = requant_bytes(len(self.requant.m))
        return elementwise_work(
            self.kind, output.size, 1, type_.bits, type_.signed, bytes_, output.shape[-1], kernels
        )

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """One beat makes one beat."""
        from ..rtl.elementwise import plan_requantize

        proof = tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs))
        return plan_requantize(self.requant, inputs[0], output, fold, proof)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loop."""
        values, arrays = requant_plan(self.requant)
        channels = output.shape[-1]
        return CPlan(
            "requantize",
            {**values, "pixels": output.size // channels, "channels": channels},
            arrays,
            requant_helpers(self.requant),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )
