# SPDX-License-Identifier: Apache-2.0
"""Another order of the axes; with a reshape on both sides it shuffles channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo, need
from .strides import as_rank, strides_of

RANK = 5

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """Axis i of the result is axis ``axes[i]`` of the input, the batch not counted."""

    axes: tuple[int, ...]
    kind: ClassVar[str] = "transpose"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The permuted shape."""
        shape = inputs[0].shape
        need(
            sorted(self.axes) == list(range(len(shape))) and len(shape) <= RANK,
            f"transpose: axes {self.axes} of shape {shape}; a permutation of up to {RANK} axes is"
            " supported",
        )
        return tuple(shape[axis] for axis in self.axes), inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """A contiguous copy."""
        return np.ascontiguousarray(inputs[0].transpose(0, *(axis + 1 for axis in self.axes)))

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return elementwise_work(self.kind, output.size, 1, output.type.bits, output.type.signed)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Blocks in a ring, read in the other order."""
        from ..rtl.movement import plan_transpose

        return plan_transpose(self.axes, inputs[0], output, fold.pe)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of five loops over the result; those of one round vanish."""
        strides = strides_of(inputs[0].shape)
        moved = tuple(strides[axis] for axis in self.axes)
        return CPlan(
            self.kind,
            {
                "size": as_rank(output.shape, RANK),
                "steps": (*[0] * (RANK - len(moved)), *moved),
            },
        )
