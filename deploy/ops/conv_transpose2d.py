# SPDX-License-Identifier: Apache-2.0
"""Transposed convolution: a convolution over the image with gaps between its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...hw_models.work import Work, conv2d_work
from ..types import IntArray, IntType
from .base import CPlan, TensorInfo, Window, need
from .conv2d import conv_sums, conv_values, infer_window
from .weighted import WeightedOp, requant_helpers, requant_plan


@dataclass(frozen=True, eq=False)
class ConvTranspose2d(WeightedOp):
    """`Conv2d` of stride 1 over the input spread out: ``gap`` positions from pixel to pixel.

    Positions between pixels and outside hold ``pad_value``. Weights are OHWI in the order of that
    convolution, i.e. turned by 180 degrees against the usual storage of transposed convolutions,
    and ``window.pad`` is ``dilation * (kernel - 1) - padding`` (more behind for output padding).

    Attributes:
        window: geometry over the spread image; stride 1.
        gap: (vertical, horizontal) stride of the transposed convolution.
        groups: channel groups.
        pad_value: the zero point of the input.
    """

    window: Window
    gap: tuple[int, int]
    groups: int = 1
    pad_value: int = 0
    kind: ClassVar[str] = "conv_transpose2d"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, OC) and the output type."""
        need(
            self.window.stride == (1, 1) and min(self.gap) >= 1 and min(self.window.pad) >= 0,
            f"{self.kind}: stride {self.window.stride}, gap {self.gap}, pad {self.window.pad};"
            " stride 1, gaps from 1 and padding up to dilation * (kernel - 1) are supported",
        )
        source = replace(inputs[0], shape=self._spread(inputs[0].shape))
        return infer_window(self, source, self.window, self.groups), self.out_type

    def _spread(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 3:
            return shape
        return (
            (shape[0] - 1) * self.gap[0] + 1, (shape[1] - 1) * self.gap[1] + 1, shape[2]
        )  # fmt: skip

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The convolution of the spread image."""
        x = inputs[0]
        spread = np.full((len(x), *self._spread(x.shape[1:])), self.pad_value, x.dtype)
        spread[:, :: self.gap[0], :: self.gap[1]] = x
        sums = conv_sums(spread, self.weights.narrow, self.window, self.groups, self.pad_value)
        return self.requant.apply(sums, self.out_type.dtype)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """The counts of the convolution over the spread image, under this kind."""
        a, b, w = self._spread(inputs[0].shape), output.shape, self.window
        counts = conv2d_work(
            (a[0], a[1], a[2]), (b[0], b[1], b[2]), w.kernel, w.stride, w.dilation, w.pad,
            self.groups, self.weights.bits, inputs[0].type.bits, inputs[0].type.signed,
        )  # fmt: skip
        macs = inputs[0].size * w.kernel[0] * w.kernel[1] * output.shape[2] // self.groups
        return replace(counts, kind=self.kind, macs=macs)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the column gather and the dot products."""
        source = inputs[0]
        values, arrays = requant_plan(self.requant)
        spread = replace(source, shape=self._spread(source.shape))
        reading, _ = conv_values(
            self.weights, self.window, self.groups, self.pad_value, spread, output
        )
        row = self.weights.rows().shape[1]
        tail = -row % 8
        return CPlan(
            self.kind,
            {**values, **reading, "gap": self.gap, "in_width": source.shape[1], "tail": tail},
            (self.weights.packed(), *arrays),
            (*requant_helpers(self.requant), self.weights.dot_helper(source.type)),
            row + tail,
            self.proof(inputs),
        )
