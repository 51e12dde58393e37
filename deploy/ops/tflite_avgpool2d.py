# SPDX-License-Identifier: Apache-2.0
"""Average pool in TFLite's arithmetic: padding does not count, ties round away from zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...hw_models.pool_work import pool2d_work
from ...hw_models.work import Work
from ..types import IntArray, IntType
from .base import Bound, CPlan, Op, TensorInfo, Window
from .conv2d import window_values
from .pool2d import pool_shape


@dataclass(frozen=True, eq=False)
class TfliteAvgPool2d(Op):
    """``y = clamp(nearest(sum / count))`` over the positions inside the image.

    Attributes:
        window: geometry.
        lo: smallest output code.
        hi: largest output code.
    """

    window: Window
    lo: int
    hi: int
    kind: ClassVar[str] = "tflite_avgpool2d"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, C) and the input's type."""
        return pool_shape(self.kind, self.window, inputs[0]), inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Window sums divided by the number of positions inside."""
        x = inputs[0].astype(np.int64)
        total = self.window.views(x, 0).sum(axis=(4, 5))
        ones = np.ones((1, *x.shape[1:3], 1), np.int64)
        count = self.window.views(ones, 0).sum(axis=(4, 5))
        y = np.sign(total) * ((np.abs(total) + count // 2) // count)
        return np.asarray(np.clip(y, self.lo, self.hi))

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The window sum with half the count."""
        count = self.window.kernel[0] * self.window.kernel[1]
        reach = max(abs(inputs[0].type.lo), abs(inputs[0].type.hi))
        return [Bound("window sum with half its count", count * reach + count // 2)]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Clamp, dilation, and windows without any input position."""
        type_, pad, kernel = inputs[0].type, self.window.pad, self.window.kernel
        found = []
        if not type_.lo <= self.lo <= self.hi <= type_.hi:
            found.append(f"clamp {self.lo}..{self.hi} outside {type_}")
        if max(pad[0], pad[2]) >= kernel[0] or max(pad[1], pad[3]) >= kernel[1]:
            found.append(f"padding {pad} as large as the window {kernel}")
        if self.window.dilation != (1, 1):
            found.append(f"dilation {self.window.dilation}; only 1 is supported for pools")
        return found

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        a, b, w = inputs[0], output.shape, self.window
        return pool2d_work(
            self.kind, (a.shape[0], a.shape[1], a.shape[2]), (b[0], b[1], b[2]), w.kernel,
            w.stride, w.pad, a.type.bits, a.type.signed,
        )  # fmt: skip

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops."""
        return CPlan(
            self.kind,
            {
                **window_values(self.window, inputs[0].shape, output.shape),
                "count": self.window.kernel[0] * self.window.kernel[1],
                "lo": self.lo,
                "hi": self.hi,
            },
            helpers=(("clamp", ()),),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )
