# SPDX-License-Identifier: Apache-2.0
"""Index of the largest code along the last axis; the first of several equal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo, need

INDEX = IntType(8, False)

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class ArgMax(Op):
    """Classes to one u8 index; the axis stays with size 1."""

    kind: ClassVar[str] = "argmax"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The input's shape with one channel."""
        shape = inputs[0].shape
        need(
            shape[-1] <= INDEX.hi + 1,
            f"argmax: {shape[-1]} classes; up to {INDEX.hi + 1} are supported; leave it out and"
            " search on the host",
        )
        return (*shape[:-1], 1), INDEX

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """NumPy's argmax, which also returns the first."""
        return np.asarray(inputs[0].argmax(axis=-1, keepdims=True))

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        return elementwise_work(self.kind, inputs[0].size, 1, type_.bits, type_.signed)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """One code a cycle."""
        from ..rtl.movement import plan_argmax

        return plan_argmax(inputs[0], output)

    def fold_limits(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> tuple[int, int]:
        """One code at once."""
        return 1, 1

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops."""
        return CPlan(self.kind, {"rows": output.size, "channels": inputs[0].shape[-1]})
