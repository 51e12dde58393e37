# SPDX-License-Identifier: Apache-2.0
"""Two-dimensional convolution (any groups, stride, dilation, padding), NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...hw_models.work import GROUP, Work, conv2d_work, conv_is_direct, padded
from ..requant import Exact
from ..types import IntArray, IntType
from .base import CPlan, TensorInfo, Window, need
from .weighted import (
    WeightedOp,
    Weights,
    check_requant_length,
    exact_dtype,
    exact_matmul,
    product_reach,
    requant_helpers,
    requant_plan,
)

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan

CHUNK_BYTES = 1 << 26
"""The simulator gathers columns in chunks of about this size, so that memory stays bounded."""


@dataclass(frozen=True, eq=False)
class Conv2d(WeightedOp):
    """``acc[o] = sum w[o,ky,kx,c] * x[y*s+ky*d-pad, .., c]`` then requantised per channel.

    Attributes:
        window: geometry.
        groups: channel groups.
        pad_value: code outside the image, the zero point of the input.
    """

    window: Window
    groups: int = 1
    pad_value: int = 0
    kind: ClassVar[str] = "conv2d"
    widest: ClassVar[int] = 16
    unrolls: ClassVar[bool] = True

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, OC) and the output type."""
        return infer_window(self, inputs[0], self.window, self.groups), self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Columns times weights in exact floating-point BLAS, group by group."""
        sums = conv_sums(
            inputs[0], self.weights.narrow, self.window, self.groups, self.pad_value
        )
        return self.requant.apply(sums, self.out_type.dtype)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        source = inputs[0]
        return conv2d_work(
            _hwc(source.shape), _hwc(output.shape), self.window.kernel, self.window.stride,
            self.window.dilation, self.window.pad, self.groups, self.weights.bits,
            source.type.bits, source.type.signed, kernels,
        )  # fmt: skip

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Dot products over one word of channels at a time."""
        from ..rtl.weighted import plan_weighted

        return plan_weighted(
            self, inputs[0], output, fold, window=self.window, groups=self.groups,
            pad=self.pad_value,
        )  # fmt: skip

    def fold_limits(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> tuple[int, int]:
        """Outputs and inputs of one group."""
        return output.shape[2] // self.groups, inputs[0].shape[2] // self.groups

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the column gather and the dot products."""
        source = inputs[0]
        values, arrays = requant_plan(self.requant)
        reading, scratch = conv_values(
            self.weights, self.window, self.groups, self.pad_value, source, output
        )
        return CPlan(
            "conv2d",
            {**values, **reading},
            (self.weights.packed(), *arrays),
            (*requant_helpers(self.requant), self.weights.dot_helper(source.type)),
            scratch,
            self.proof(inputs),
        )


def conv_sums(
    x: IntArray, weights: IntArray, window: Window, groups: int, pad_value: int
) -> Exact:
    """Accumulators ``[N,OH,OW,O]`` of ``x`` [N,H,W,C] and OHWI ``weights``, exact."""
    views = window.views(x, pad_value)
    samples, rows, columns = views.shape[:3]
    outputs = weights.shape[0] // groups
    depth = weights.shape[3]
    reach = product_reach(weights, x)
    result = np.empty((samples, rows, columns, weights.shape[0]), exact_dtype(reach))
    row_bytes = 4 * rows * columns * depth * window.kernel[0] * window.kernel[1]
    chunk = max(1, CHUNK_BYTES // max(1, row_bytes))
    for group in range(groups):
        out = slice(group * outputs, (group + 1) * outputs)
        part = weights[out].reshape(outputs, -1)
        for start in range(0, samples, chunk):
            taps = views[start : start + chunk, :, :, group * depth : (group + 1) * depth]
            # OHWI weights: the column order is kernel row, kernel column, channel
            cols = taps.transpose(0, 1, 2, 4, 5, 3).reshape(-1, part.shape[1])
            acc = exact_matmul(cols, part, reach)
            if acc.size == result.size:
                return acc.reshape(result.shape)
            shape = result[start : start + chunk, :, :, out].shape
            result[start : start + chunk, :, :, out] = acc.reshape(shape)
    return result


def infer_window(
    op: WeightedOp, source: TensorInfo, window: Window, groups: int
) -> tuple[int, ...]:
    """Output shape of a convolution, with every structural rule checked."""
    check_requant_length(op.kind, op.requant, op.weights.codes.shape[0])
    return conv_shape(op.kind, op.weights.codes, source, window, groups)


def conv_shape(
    kind: str, codes: NDArray[np.uint8], source: TensorInfo, window: Window, groups: int
) -> tuple[int, ...]:
    """Output shape of a convolution with OHWI ``codes``."""
    need(
        len(source.shape) == 3 and codes.ndim == 4,
        f"{kind}: input shape {source.shape}, weights {codes.shape}; (H, W, C) and OHWI are"
        " supported; reshape before it",
    )
    need(
        source.shape[2] == codes.shape[3] * groups and codes.shape[0] % groups == 0,
        f"{kind}: {source.shape[2]} input channels in {groups} groups with weights"
        f" {codes.shape}; channels must match; check the groups",
    )
    need(
        codes.shape[1:3] == window.kernel,
        f"{kind}: weights {codes.shape} for a {window.kernel} kernel; they must match",
    )
    rows, columns = window.out_hw((source.shape[0], source.shape[1]))
    need(
        rows > 0 and columns > 0,
        f"{kind}: input {source.shape[0]}x{source.shape[1]} smaller than the kernel"
        f" {window.kernel}; at least one output pixel is needed; use a larger input",
    )
    return rows, columns, int(codes.shape[0])


def conv_values(
    weights: Weights, window: Window, groups: int, pad_value: int, source: TensorInfo,
    output: TensorInfo,
) -> tuple[dict[str, object], int]:
    """(template literals of the column gather and the dot products, bytes of the column)."""
    row = weights.rows().shape[1]
    direct = conv_is_direct(window.kernel, window.pad, groups, source.shape[2])
    return {
        **window_values(window, source.shape, output.shape),
        "direct": direct,
        "groups": groups,
        "depth": source.shape[2] // groups,
        "outputs": output.shape[2] // groups,
        "row": row,
        "tail": padded(row) - row,
        "blocks": padded(row) // GROUP,
        "row_bytes": padded(row) // GROUP * weights.bits,
        "step": weights.step,
        "offset": weights.offset,
        "pad_value": pad_value,
        "tag": weights.dot_tag(source.type),
    }, 0 if direct else padded(row) * source.type.bytes_


def window_values(
    window: Window, source: tuple[int, ...], output: tuple[int, ...]
) -> dict[str, object]:
    """Window geometry as template literals."""
    return {
        "height": source[0], "width": source[1], "channels": source[2],
        "out_height": output[0], "out_width": output[1], "out_channels": output[2],
        "kernel": window.kernel, "stride": window.stride, "dilation": window.dilation,
        "pad": window.pad, "padded": any(window.pad),
    }  # fmt: skip


def _hwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[0], shape[1], shape[2]
