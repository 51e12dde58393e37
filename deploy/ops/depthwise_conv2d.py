# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: every output channel reads one input channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import GROUP, Work, depthwise_conv2d_work, padded
from ..pack import code_expressions
from ..types import IntArray, IntType
from .base import CPlan, TensorInfo, Window, need
from .conv2d import infer_window, window_values
from .weighted import WeightedOp, requant_helpers, requant_plan

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class DepthwiseConv2d(WeightedOp):
    """``acc[o] = sum w[o,ky,kx] * x[.., o // multiplier]``, weights OHW1.

    Attributes:
        window: geometry.
        pad_value: code outside the image, the zero point of the input.
    """

    window: Window
    pad_value: int = 0
    kind: ClassVar[str] = "depthwise_conv2d"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, OC) and the output type."""
        need(
            self.weights.codes.ndim == 4 and self.weights.codes.shape[3] == 1,
            f"{self.kind}: weights {self.weights.codes.shape}; OHW1 is supported; use conv2d",
        )
        return infer_window(self, inputs[0], self.window, inputs[0].shape[-1]), self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Tap by tap over whole images, in int64."""
        x = inputs[0]
        weights = self.weights.values[..., 0]
        multiplier = weights.shape[0] // x.shape[3]
        views = self.window.views(x, self.pad_value)
        acc = np.zeros((*views.shape[:3], weights.shape[0]), np.int64)
        for ky in range(self.window.kernel[0]):
            for kx in range(self.window.kernel[1]):
                tap = views[..., ky, kx].astype(np.int64)
                acc += np.repeat(tap, multiplier, axis=3) * weights[:, ky, kx]
        return self.requant.apply(acc)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        source = inputs[0]
        return depthwise_conv2d_work(
            (source.shape[0], source.shape[1], source.shape[2]),
            (output.shape[0], output.shape[1], output.shape[2]),
            self.window.kernel, self.window.stride, self.window.dilation, self.window.pad,
            self.weights.bits, source.type.bits, source.type.signed, kernels,
        )  # fmt: skip

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Every lane sums the taps of its own channel."""
        from ..rtl.weighted import plan_weighted

        return plan_weighted(
            self, inputs[0], output, fold, window=self.window, groups=inputs[0].shape[2],
            pad=self.pad_value, lanewise=True,
        )  # fmt: skip

    def fold_limits(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> tuple[int, int]:
        """All channels; several outputs of one channel follow each other."""
        return (output.shape[2] if output.shape[2] == inputs[0].shape[2] else 1), 1

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the per-channel loops."""
        source = inputs[0]
        taps = self.window.kernel[0] * self.window.kernel[1]
        bits = self.weights.bits
        values, arrays = requant_plan(self.requant)
        unpack = (
            "unpack",
            (("bits", bits), ("tag", f"w{bits}"), ("codes", tuple(code_expressions(bits, "w")))),
        )
        return CPlan(
            "depthwise_conv2d",
            {
                **values,
                **window_values(self.window, source.shape, output.shape),
                "multiplier": output.shape[2] // source.shape[2],
                "taps": taps,
                "blocks": padded(taps) // GROUP,
                "row_bytes": padded(taps) // GROUP * bits,
                "slots": padded(taps),
                "step": self.weights.step,
                "offset": self.weights.offset,
                "pad_value": self.pad_value,
                "tag": f"w{bits}",
            },
            (self.weights.packed(), *arrays),
            (*requant_helpers(self.requant), unpack),
            0,
            self.proof(inputs),
        )
