# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: every output channel reads one input channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import GROUP, Work, depthwise_conv2d_work, padded
from ..pack import code_expressions
from ..requant import Exact
from ..types import IntArray, IntType
from .base import CPlan, Helper, TensorInfo, Window, need
from .conv2d import infer_window, window_values
from .weighted import (
    WeightedOp,
    Weights,
    exact_dtype,
    product_reach,
    requant_helpers,
    requant_plan,
)

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan

BAND = 1 << 14
"""Sums that the simulator forms at a time."""


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
    widest: ClassVar[int] = 16
    unrolls: ClassVar[bool] = True

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, OC) and the output type."""
        need(
            self.weights.codes.ndim == 4 and self.weights.codes.shape[3] == 1,
            f"{self.kind}: weights {self.weights.codes.shape}; OHW1 is supported; use conv2d",
        )
        return infer_window(self, inputs[0], self.window, inputs[0].shape[-1]), self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Tap by tap over bands of rows."""
        sums = depthwise_sums(inputs[0], self.weights.narrow, self.window, self.pad_value)
        return self.requant.apply(sums, self.out_type.dtype)

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
        values, arrays = requant_plan(self.requant)
        reading, unpack = depthwise_values(
            self.weights, self.window, self.pad_value, inputs[0], output
        )
        return CPlan(
            "depthwise_conv2d",
            {**values, **reading},
            (self.weights.packed(), *arrays),
            (*requant_helpers(self.requant), unpack),
            0,
            self.proof(inputs),
        )


def depthwise_sums(x: IntArray, weights: IntArray, window: Window, pad_value: int) -> Exact:
    """Accumulators of ``x`` [N,H,W,C] and OHW1 ``weights``, exact, tap by tap over bands of rows.

    A band's sums stay in the cache while the taps are added.
    """
    multiplier = weights.shape[0] // x.shape[3]
    dtype = exact_dtype(product_reach(weights, x))
    views = window.views(x.astype(dtype), pad_value)
    values = weights.astype(dtype)
    result = np.empty((*views.shape[:3], weights.shape[0]), dtype)
    rows = max(1, BAND // max(1, result.shape[2] * result.shape[3]))
    band = np.empty((rows, *result.shape[2:]), dtype)
    for sample, image in enumerate(result):
        for start in range(0, len(image), rows):
            sums = image[start : start + rows]
            products = band[: len(sums)]
            for ky, kx in np.ndindex(*window.kernel):
                tap = views[sample, start : start + rows, ..., ky, kx]
                if multiplier > 1:
                    tap = np.repeat(tap, multiplier, axis=2)
                first = ky == kx == 0
                np.multiply(tap, values[:, ky, kx, 0], out=sums if first else products)
                if not first:
                    sums += products
    return result


def depthwise_values(
    weights: Weights, window: Window, pad_value: int, source: TensorInfo, output: TensorInfo
) -> tuple[dict[str, object], Helper]:
    """(template literals of the per-channel loops, the shared function that unpacks weights)."""
    taps = window.kernel[0] * window.kernel[1]
    bits = weights.bits
    unpack = (
        "unpack",
        (("bits", bits), ("tag", f"w{bits}"), ("codes", tuple(code_expressions(bits, "w")))),
    )
    return {
        **window_values(window, source.shape, output.shape),
        "multiplier": output.shape[2] // source.shape[2],
        "taps": taps,
        "blocks": padded(taps) // GROUP,
        "row_bytes": padded(taps) // GROUP * bits,
        "slots": padded(taps),
        "step": weights.step,
        "offset": weights.offset,
        "pad_value": pad_value,
        "tag": f"w{bits}",
    }, unpack
