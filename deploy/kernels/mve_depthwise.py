# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution on cores with MVE: one dot product of up to 16 taps per instruction.

One channel at a time is gathered into a plane of signed bytes with its padding around it. A byte
gather then fetches the taps of one output, VMLADAV multiplies them by the channel's weights; four
outputs in a line are requantised together. Kernels of more than 16 taps take several patches of
whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ops.base import CArray, CPlan, Op, TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..requant import Int64
from . import mve_blocks
from . import mve_packing as mve
from .mve_plane import flip_of, gather_helper, records, tap_weights

OUTPUTS = 4
LARGEST_OFFSET = 255
"""A byte gather reaches so many bytes past its base register."""
LARGEST_STEP = 4095
"""An addition of an immediate value reaches so far."""
SLACK = 16
GROUP_COST, LINE_COST = 18, 6
"""Instructions of four outputs and of a line around them."""


@dataclass(frozen=True)
class Lines:
    """Outputs in lines of lanes: along rows, or along columns where rows are too short.

    Attributes:
        lanes: outputs of a line.
        count: lines.
        lane_step: plane bytes from one output of a line to the next.
        line_step: plane bytes from one line to the next.
        out_lane: output elements from one output to the next.
        out_line: output elements from one line to the next.
    """

    lanes: int
    count: int
    lane_step: int
    line_step: int
    out_lane: int
    out_line: int

    @property
    def cost(self) -> int:
        """Estimated instructions of a channel."""
        return self.count * (GROUP_COST * -(-self.lanes // OUTPUTS) + LINE_COST)


def lines_of(op: DepthwiseConv2d, output: TensorInfo, width: int) -> Lines:
    """The direction that costs less; ``width`` is that of the padded plane."""
    rows, columns, channels = output.shape
    down, right = op.window.stride[0] * width, op.window.stride[1]
    across = Lines(columns, rows, right, down, channels, columns * channels)
    along = Lines(rows, columns, down, right, columns * channels, channels)
    fits = patch_rows(op, width, across.lane_step) == patch_rows(op, width, along.lane_step)
    return along if fits and along.cost < across.cost else across


def patch_rows(op: DepthwiseConv2d, width: int, lane_step: int) -> int:
    """Kernel rows of one patch; 0 where not even one fits."""
    kernel_rows, kernel_columns = op.window.kernel
    down, right = op.window.dilation[0] * width, op.window.dilation[1]
    found = 0
    for rows in range(1, kernel_rows + 1):
        reach = (rows - 1) * down + (kernel_columns - 1) * right + (OUTPUTS - 1) * lane_step
        if rows * kernel_columns <= mve.LANES and reach <= LARGEST_OFFSET:
            found = rows
    return found


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a depthwise convolution; None for windows that are too wide for a patch."""
    assert isinstance(op, DepthwiseConv2d)
    if mve_blocks.serves(op, output):
        return mve_blocks.plan(op, inputs[0], output)
    source, window, rule = inputs[0], op.window, op.requant
    height, image, channels = source.shape
    top, left, bottom, right = window.pad
    width = image + left + right
    lines = lines_of(op, output, width)
    rows = patch_rows(op, width, lines.lane_step)
    delta = rows * window.dilation[0] * width
    if rows == 0 or delta > LARGEST_STEP:
        return None
    flip = flip_of(source.type)
    weights, shift = tap_weights(op)
    patches, steps = patch_weights(weights, op.window.kernel, rows, delta)
    taps = tuple(
        window.dilation[0] * width * (k // window.kernel[1])
        + window.dilation[1] * (k % window.kernel[1])
        for k in range(rows * window.kernel[1])
    )
    whole, rest = divmod(lines.lanes, OUTPUTS)
    narrow = lines.lanes if whole == 0 else 0
    groups = max(1, whole)
    back = OUTPUTS - rest if rest and whole else 0
    values: dict[str, object] = {
        "patches": len(steps),
        "steps": steps,
        "taps": len(taps),
        "tail": back > 0,
        "narrow": narrow,
        "shift": shift,
        "out": output.type.c_name,
        **mve.requant_values(rule),
    }
    kernel = mve.helper("mve_taps", "taps", values)
    gather = gather_helper(source)
    done = groups * OUTPUTS + (OUTPUTS if back else 0) - back
    job = (
        *(lane * lines.out_lane for lane in range(OUTPUTS)),
        *np.frombuffer(bytes((*taps, *[0] * (16 - len(taps)))), "<u4").tolist(),
        lines.count,
        groups,
        OUTPUTS * lines.lane_step - sum(steps),
        OUTPUTS * lines.out_lane,
        lines.line_step - done * lines.lane_step,
        lines.out_line - done * lines.out_lane,
        back * lines.lane_step,
        back * lines.out_lane,
        lines.lane_step,
    )
    plane = width * (height + top + bottom)
    size = mve.LANES if len(steps) > 1 else -(-len(taps) // 4) * 4
    data = np.zeros((output.shape[2], len(steps), size), np.int64)
    data[:, :, : len(taps)] = patches
    record = records(op, data.reshape(output.shape[2], -1), flip)
    kernels = (("mve_guard", ()), ("mve_finish", ()), *([("mve_fill", ())] if any(window.pad) else []))
    return CPlan(
        "depthwise_conv2d",
        {
            "taps": mve.tag_of(kernel),
            "gather": mve.tag_of(gather),
            "second": 0,
            "channels": channels,
            "multiplier": output.shape[2] // channels,
            "height": height,
            "width": image,
            "gap": left + right,
            "padded": any(window.pad),
            "pad_byte": (op.pad_value ^ flip) % 256,
            "plane": plane,
            "start": top * width + left,
            "record": len(record) // output.shape[2],
        },
        (
            CArray("w", "uint32_t", tuple(record), "by channel: signed weights, bias, M, zero point"),
            CArray("j", "uint32_t", tuple(int(v) % mve.WORD for v in job),
                   "offsets of outputs and taps, then counts and steps"),
        ),
        (*kernels, gather, kernel),
        plane + SLACK + delta * (len(steps) > 1) + OUTPUTS * lines.lane_step * (narrow > 0),
        op.proof(inputs),
    )  # fmt: skip


def patch_weights(
    weights: Int64, kernel: tuple[int, int], rows: int, delta: int
) -> tuple[Int64, tuple[int, ...]]:
    """(weights ``[outputs, patches, taps of a patch]``, plane bytes to go on after each patch)."""
    passes, outputs, _ = weights.shape
    blocks = -(-kernel[0] // rows)
    filled = np.zeros((passes, outputs, blocks * rows * kernel[1]), np.int64)
    filled[:, :, : kernel[0] * kernel[1]] = weights
    patches = filled.reshape(passes, outputs, blocks, rows * kernel[1])
    steps = ([0] * (passes - 1) + [delta]) * blocks
    steps[-1] = 0
    return patches.transpose(1, 2, 0, 3).reshape(outputs, blocks * passes, -1), tuple(steps)
