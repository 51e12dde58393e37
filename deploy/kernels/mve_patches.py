# SPDX-License-Identifier: Apache-2.0
"""Which taps of a depthwise window one gather fetches, and how outputs follow each other.

Outputs are taken four at a time along a line, a row or a column of the output. Where the taps of
two or four neighbours fit 16 bytes, one gather serves them all: the lanes run along the line
first, so that the weights of the next output are those of this one moved by the stride. Windows of
more than 16 taps take several patches of whole kernel rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ops.base import TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..requant import Int64
from . import mve_packing as mve

OUTPUTS = 4
LARGEST_OFFSET = 255
"""A byte gather reaches so many bytes past its base register."""
LARGEST_STEP = 4095
"""An addition of an immediate value reaches so far."""
GROUP_COST, LINE_COST = 10, 6
"""Instructions of four outputs besides gathers and products, and of a line around them."""


@dataclass(frozen=True)
class Lines:
    """Outputs in lines of lanes.

    Attributes:
        axis: 1 for lines along rows, 0 along columns.
        lanes: outputs of a line.
        count: lines.
        lane_step: plane bytes from one output of a line to the next.
        line_step: plane bytes from one line to the next.
        out_lane: output elements from one output to the next.
        out_line: output elements from one line to the next.
    """

    axis: int
    lanes: int
    count: int
    lane_step: int
    line_step: int
    out_lane: int
    out_line: int


@dataclass(frozen=True, eq=False)
class Patches:
    """What is gathered for an output.

    Attributes:
        lines: how outputs follow each other.
        offsets: plane offsets of the taps, 16 at most.
        weights: signed bytes ``[outputs, patches, taps]``.
        steps: plane bytes to go on after each patch.
        share: outputs that one gather serves.
        move: lanes by which the weights of the next output are moved.
    """

    lines: Lines
    offsets: tuple[int, ...]
    weights: Int64
    steps: tuple[int, ...]
    share: int = 1
    move: int = 0

    @property
    def cost(self) -> int:
        """Estimated instructions of a channel."""
        count = len(self.steps)
        products = (OUTPUTS + OUTPUTS // self.share) * count + (count if count > 1 else 0)
        groups = -(-self.lines.lanes // OUTPUTS)
        return self.lines.count * (groups * (GROUP_COST + products) + LINE_COST)


def choose(
    op: DepthwiseConv2d, output: TensorInfo, width: int, weights: Int64
) -> Patches | None:
    """The cheapest way, None where the window is too wide for a patch.

    Args:
        op: the layer.
        output: its output.
        width: bytes of a row of the padded plane.
        weights: signed bytes ``[passes, outputs, taps]``.
    """
    found = [
        patches
        for lines in lines_of(op, output, width)
        for patches in (_shared(op, lines, width, weights), _by_rows(op, lines, width, weights))
        if patches is not None
    ]
    return min(found, key=lambda patches: patches.cost) if found else None


def lines_of(op: DepthwiseConv2d, output: TensorInfo, width: int) -> tuple[Lines, Lines]:
    """Lines along rows and along columns."""
    rows, columns, channels = output.shape
    down, right = op.window.stride[0] * width, op.window.stride[1]
    return (
        Lines(1, columns, rows, right, down, channels, columns * channels),
        Lines(0, rows, columns, down, right, columns * channels, channels),
    )


def _shared(
    op: DepthwiseConv2d, lines: Lines, width: int, weights: Int64
) -> Patches | None:
    window = op.window
    along, across = lines.axis, 1 - lines.axis
    if window.dilation[along] != 1 or len(weights) > 1:
        return None
    stride, steps = window.stride[along], (window.dilation[0] * width, window.dilation[1])
    for share in (4, 2):
        extent = window.kernel[along] + (share - 1) * stride
        count = window.kernel[across] * extent
        reach = (window.kernel[across] - 1) * steps[across] + (extent - 1) * steps[along]
        if count > mve.LANES or reach + (OUTPUTS - share) * lines.lane_step > LARGEST_OFFSET:
            continue
        offsets = tuple(
            o * steps[across] + k * steps[along]
            for o in range(window.kernel[across])
            for k in range(extent)
        )
        kernel = weights[0].reshape(-1, *window.kernel)
        kernel = kernel if along == 1 else kernel.transpose(0, 2, 1)
        data = np.zeros((len(kernel), window.kernel[across], extent), np.int64)
        data[:, :, : window.kernel[along]] = kernel
        return Patches(lines, offsets, data.reshape(len(data), 1, -1), (0,), share, stride)
    return None


def _by_rows(
    op: DepthwiseConv2d, lines: Lines, width: int, weights: Int64
) -> Patches | None:
    kernel_rows, kernel_columns = op.window.kernel
    down, right = op.window.dilation[0] * width, op.window.dilation[1]
    rows = 0
    for count in range(1, kernel_rows + 1):
        reach = (count - 1) * down + (kernel_columns - 1) * right
        fits = reach + (OUTPUTS - 1) * lines.lane_step <= LARGEST_OFFSET
        if fits and count * kernel_columns <= mve.LANES:
            rows = count
    if rows == 0 or rows * down > LARGEST_STEP:
        return None
    passes, outputs, taps = weights.shape
    blocks = -(-kernel_rows // rows)
    filled = np.zeros((passes, outputs, blocks * rows * kernel_columns), np.int64)
    filled[:, :, :taps] = weights
    patches = filled.reshape(passes, outputs, blocks, -1).transpose(1, 2, 0, 3)
    steps = [*[0] * (passes - 1), rows * down] * blocks
    steps[-1] = 0
    offsets = tuple(r * down + k * right for r in range(rows) for k in range(kernel_columns))
    return Patches(lines, offsets, patches.reshape(outputs, blocks * passes, -1), tuple(steps))
