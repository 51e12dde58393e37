# SPDX-License-Identifier: Apache-2.0
"""A constant border around a tensor, along any axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo, need
from .strides import as_rank, strides_of

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """``before`` and ``after`` positions per axis that hold the code ``value``.

    Attributes:
        before: per axis, without the batch axis.
        after: per axis.
        value: usually the zero point.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int = 0
    kind: ClassVar[str] = "pad"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The larger shape."""
        shape = inputs[0].shape
        need(
            len(shape) == len(self.before) == len(self.after) <= 3
            and min(*self.before, *self.after, 0) >= 0,
            f"pad: {self.before} and {self.after} for shape {shape}; two numbers from 0 for each of"
            " up to 3 axes are supported; crop with a slice",
        )
        grown = zip(shape, self.before, self.after, strict=True)
        return tuple(size + a + b for size, a, b in grown), inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """NumPy's padding."""
        widths = [(0, 0), *zip(self.before, self.after, strict=True)]
        return np.pad(inputs[0], widths, constant_values=self.value)

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """The value must be a code of the input's type."""
        if not inputs[0].type.lo <= self.value <= inputs[0].type.hi:
            return [f"a border of {self.value}, outside the type {inputs[0].type}"]
        return []

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return elementwise_work(self.kind, output.size, 1, output.type.bits, output.type.signed)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Beats of the input between those of the border."""
        from ..rtl.movement import plan_pad

        return plan_pad(self, inputs[0], output, fold.pe)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of a copy into a filled tensor."""
        shape, whole = as_rank(inputs[0].shape, 3), as_rank(output.shape, 3)
        before = (*[0] * (3 - len(self.before)), *self.before)
        strides = strides_of(whole)
        return CPlan(
            self.kind,
            {
                "elements": output.size, "value": self.value, "shape": shape, "strides": strides,
                "start": sum(b * s for b, s in zip(before, strides, strict=True)),
            },
        )  # fmt: skip
