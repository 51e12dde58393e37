# SPDX-License-Identifier: Apache-2.0
"""Sum of two or more tensors of one shape, each with its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..requant import AddRequant
from ..types import IntArray, IntType
from .base import Bound, CPlan, Op, TensorInfo, need

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Add(Op):
    """``y = clamp(((sum m_i*x_i + bias + 2^(s-1)) >> s) + z)``; a fused ReLU raises the clamp."""

    requant: AddRequant
    out_type: IntType
    kind: ClassVar[str] = "add"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The common shape."""
        shapes = {tensor.shape for tensor in inputs}
        need(
            len(shapes) == 1,
            f"add: shapes {sorted(shapes)}; equal shapes are supported; no broadcasting",
        )
        need(
            len(inputs) == len(self.requant.m) >= 2,
            f"add: {len(inputs)} inputs for {len(self.requant.m)} multipliers; lower it again",
        )
        return inputs[0].shape, self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The rule, element by element."""
        return self.requant.apply([x.astype(np.int64) for x in inputs])

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The sum before its shift."""
        ranges = [(tensor.type.lo, tensor.type.hi) for tensor in inputs]
        return [Bound("sum before the shift", self.requant.bound(ranges))]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Clamp and shift limits."""
        found = []
        if self.requant.lo < self.out_type.lo or self.requant.hi > self.out_type.hi:
            found.append(f"clamp outside the output type {self.out_type}")
        if not 1 <= self.requant.s <= 30:
            found.append(f"shift {self.requant.s} outside 1..30")
        return found

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        return elementwise_work(
            self.kind, output.size, len(inputs), type_.bits, type_.signed,
            channels=output.shape[-1], kernels=kernels,
        )  # fmt: skip

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """One beat of every input makes one beat."""
        from ..rtl.elementwise import plan_add

        proof = tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs))
        return plan_add(self.requant, inputs, output, fold, proof)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loop."""
        rule = self.requant
        return CPlan(
            "add",
            {
                "elements": output.size,
                "m": rule.m,
                "constant": rule.bias + (1 << (rule.s - 1)),
                "s": rule.s,
                "zero": rule.z,
                "lo": rule.lo,
                "hi": rule.hi,
            },
            helpers=(("clamp", ()),),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )
