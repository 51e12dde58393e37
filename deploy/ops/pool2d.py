# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling, NHWC; a global pool is a window of the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.pool_work import pool2d_work
from ...hw_models.work import Work
from ..requant import Int64, Requant
from ..types import IntArray, IntType
from .base import Bound, CPlan, Op, TensorInfo, Window, need
from .conv2d import window_values
from .weighted import requant_helpers, requant_problems

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


def pool_shape(kind: str, window: Window, source: TensorInfo) -> tuple[int, int, int]:
    """Output shape of a pool."""
    need(
        len(source.shape) == 3,
        f"{kind}: input shape {source.shape}; (H, W, C) is supported; reshape before it",
    )
    rows, columns = window.out_hw((source.shape[0], source.shape[1]))
    need(
        rows > 0 and columns > 0,
        f"{kind}: input {source.shape[0]}x{source.shape[1]} smaller than the window"
        f" {window.kernel}; at least one output pixel is needed; use a larger input",
    )
    return rows, columns, source.shape[2]


def _pool_work(
    kind: str, window: Window, source: TensorInfo, output: TensorInfo, kernels: Sequence[str]
) -> Work:
    return pool2d_work(
        kind,
        (source.shape[0], source.shape[1], source.shape[2]),
        (output.shape[0], output.shape[1], output.shape[2]),
        window.kernel, window.stride, window.pad, source.type.bits, source.type.signed, kernels,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class MaxPool2d(Op):
    """Largest code of each window; positions outside the image never win."""

    window: Window
    kind: ClassVar[str] = "maxpool2d"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, C) and the input's type."""
        return pool_shape(self.kind, self.window, inputs[0]), inputs[0].type

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Padding must not make a window without any input position."""
        pad, kernel = self.window.pad, self.window.kernel
        if max(pad[0], pad[2]) >= kernel[0] or max(pad[1], pad[3]) >= kernel[1]:
            return [f"padding {pad} as large as the window {kernel}"]
        if self.window.dilation != (1, 1):
            return [f"dilation {self.window.dilation}; only 1 is supported for pools"]
        return []

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Windows filled with the smallest value of the container outside the image."""
        x = inputs[0]
        wide = x.astype(np.int16) if x.dtype.itemsize == 1 else x.astype(np.int64)
        views = self.window.views(wide, int(np.iinfo(wide.dtype).min))
        return np.asarray(views.max(axis=(4, 5)))

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return _pool_work(self.kind, self.window, inputs[0], output, kernels)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Every lane keeps the largest code of its own channel; the border holds the lowest."""
        from ..rtl.weighted import plan_pool

        low = inputs[0].type.lo
        return plan_pool(self.kind, "max", inputs[0], output, self.window, low, fold, None)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops."""
        source = inputs[0]
        return CPlan(
            "maxpool2d",
            {
                **window_values(self.window, source.shape, output.shape),
                "lowest": source.type.lo,
            },
        )


@dataclass(frozen=True, eq=False)
class AvgPool2d(Op):
    """Sum of each window, requantised; the division is part of the multiplier.

    Attributes:
        window: geometry.
        requant: one set of constants for all channels.
        out_type: type of the output codes.
        pad_value: code that positions outside the image add, the zero point of the input.
    """

    window: Window
    requant: Requant
    out_type: IntType
    pad_value: int = 0
    kind: ClassVar[str] = "avgpool2d"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, C) and the output type."""
        need(
            len(self.requant.m) == 1,
            f"avgpool2d: {len(self.requant.m)} requantisation constants; one is supported",
        )
        return pool_shape(self.kind, self.window, inputs[0]), self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Window sums in int64."""
        views = self.window.views(inputs[0], self.pad_value)
        return self.requant.apply(views.sum(axis=(4, 5), dtype=np.int64))

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """Window sum and shifted sum."""
        low, high = self._sums(inputs[0].type)
        return [
            Bound("window sum", int(max(abs(low[0]), abs(high[0])))),
            Bound("shifted sum with bias", self.requant.t_bound(low, high)),
        ]

    def _sums(self, type_: IntType) -> tuple[Int64, Int64]:
        count = self.window.kernel[0] * self.window.kernel[1]
        return np.array([count * type_.lo]), np.array([count * type_.hi])

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Requantiser limits and dilation."""
        found = requant_problems(self.requant, self.out_type)
        if self.window.dilation != (1, 1):
            found.append(f"dilation {self.window.dilation}; only 1 is supported for pools")
        return found

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return _pool_work(self.kind, self.window, inputs[0], output, kernels)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Every lane sums the window of its own channel."""
        from ..rtl.weighted import plan_pool

        proof = tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs))
        return plan_pool(
            self.kind, "sum", inputs[0], output, self.window, self.pad_value, fold, self.requant,
            proof,
        )  # fmt: skip

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops."""
        rule = self.requant
        return CPlan(
            "avgpool2d",
            {
                **window_values(self.window, inputs[0].shape, output.shape),
                "pad_value": self.pad_value,
                "factor": 1 << rule.p,
                "bias": int(rule.bias[0]),
                "m": int(rule.m[0]),
                "s": int(rule.s[0]),
                "zero": int(rule.z[0]),
                "lo": rule.lo,
                "hi": rule.hi,
            },
            helpers=requant_helpers(rule),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )
