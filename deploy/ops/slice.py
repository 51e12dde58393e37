# SPDX-License-Identifier: Apache-2.0
"""A part of a tensor: a start, a size and a step per axis. Splits are several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo, need
from .strides import as_rank, strides_of

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Positions ``start, start + step, ...``, ``size`` of them, per axis without the batch.

    Attributes:
        start: per axis.
        size: per axis.
        step: per axis, positive.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    step: tuple[int, ...]
    kind: ClassVar[str] = "slice"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The sizes."""
        shape = inputs[0].shape
        need(
            len(shape) == len(self.start) == len(self.size) == len(self.step) <= 3
            and all(
                a >= 0 and n > 0 and d > 0 and a + (n - 1) * d < full
                for a, n, d, full in zip(self.start, self.size, self.step, shape, strict=True)
            ),
            f"slice: start {self.start}, size {self.size}, step {self.step} of shape {shape}; parts"
            " inside the tensor with positive steps, up to 3 axes, are supported",
        )
        return self.size, inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """A view."""
        parts = [
            slice(a, a + (n - 1) * d + 1, d)
            for a, n, d in zip(self.start, self.size, self.step, strict=True)
        ]
        return inputs[0][(slice(None), *parts)]

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return elementwise_work(self.kind, output.size, 1, output.type.bits, output.type.signed)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """The beats inside the part."""
        from ..rtl.movement import plan_slice

        return plan_slice(self, inputs[0], output, fold.pe)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the copy."""
        strides = strides_of(inputs[0].shape)
        start = sum(a * s for a, s in zip(self.start, strides, strict=True))
        steps = tuple(d * s for d, s in zip(self.step, strides, strict=True))
        return CPlan(
            self.kind,
            {
                "start": start, "size": as_rank(self.size, 3),
                "steps": (*[0] * (3 - len(steps)), *steps),
            },
        )  # fmt: skip
