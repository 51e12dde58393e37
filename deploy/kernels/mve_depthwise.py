# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution on cores with MVE: one dot product of up to 16 taps per instruction.

One channel at a time is gathered into a plane of signed bytes with its padding around it. A byte
gather then fetches the taps of an output, or of its neighbours too (see
`adaqat.hw_models.mve_geometry`), VMLADAV
multiplies them by the channel's weights; four outputs of a line are requantised together, and
where it pays eight are stored together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...hw_models.mve_geometry import LANES, OUTPUTS, Taps, taps_of
from ..ops.base import CPlan, Helper, Op, TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from . import mve_blocks
from . import mve_packing as mve
from .mve_patches import patch_weights
from .mve_plane import (
    Planes,
    fit_half_words,
    flip_of,
    plan_of,
    records,
    result_range,
    scaled,
    tap_weights,
)

SLACK = 16
UNROLLED = 2
"""Groups of a line without a loop at most."""
MOST_CHANNELS = 4096
"""Offsets of sixteen pixels have to fit a half-word."""


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a depthwise convolution; None for windows that are too wide for a patch."""
    assert isinstance(op, DepthwiseConv2d)
    source, window = inputs[0], op.window
    if source.shape[2] > MOST_CHANNELS:
        return None
    if mve_blocks.serves(op, output):
        return mve_blocks.plan(op, source, output)
    top, left, bottom, right = window.pad
    width = source.shape[1] + left + right
    weights, shift = tap_weights(op)
    shape = (output.shape[0], output.shape[1], output.shape[2])
    found = taps_of(
        shape, width, window.kernel, window.stride, window.dilation, len(weights)
    )
    if found is None:
        return None
    patches = patch_weights(found, weights, window.kernel)
    flip = flip_of(source.type)
    ends = result_range(op, source.type)
    direct = found.wide and fit_half_words(ends)
    kernel, job = taps_helper(op, found, shift, direct=direct)
    plane = width * (source.shape[0] + top + bottom)
    outputs, count, taps = patches.shape
    size = LANES if count > 1 else -(-taps // 4) * 4
    data = np.zeros((outputs, count, size), np.int64)
    data[:, :, :taps] = patches
    record = records(
        op, data.reshape(outputs, -1), flip, halved=scaled(op, shift, count)
    )
    planes = Planes(
        gap=left + right,
        start=top * width + left,
        second=0,
        filled=plane * any(window.pad),
        # lanes of weight 0 and lanes that are not stored reach past the plane
        size=plane + SLACK + max(found.steps) + OUTPUTS * found.lines.lane_step,
    )
    made = plan_of(op, source, outputs, planes, kernel, record, job)
    if direct:
        proof = f"results before the clamp from {ends[0]} to {ends[1]} fit half-words"
        made = replace(made, proof=(*made.proof, proof))
    return made


def taps_helper(
    op: DepthwiseConv2d, taps: Taps, shift: int, *, direct: bool
) -> tuple[Helper, tuple[int, ...]]:
    """The function of one channel, and the words of its job."""
    lines, each = taps.lines, taps.outputs
    whole, rest = divmod(lines.lanes, each)
    groups = max(1, whole)
    back = each - rest if rest and whole else 0
    unrolled = groups <= UNROLLED * OUTPUTS // each
    values: dict[str, object] = {
        "patches": len(taps.steps),
        "steps": taps.steps,
        "taps": len(taps.offsets),
        "share": taps.share,
        "move": taps.move,
        "tail": back > 0,
        "narrow": lines.lanes if whole == 0 else 0,
        "unrolled": groups if unrolled else 0,
        "wide": taps.wide,
        # results are half-words already
        "direct": direct,
        "shift": shift,
        "scaled": scaled(op, shift, len(taps.steps)),
        **mve.requant_values(op.requant),
    }
    straight = unrolled or back > 0
    ahead, behind = OUTPUTS * lines.lane_step - sum(taps.steps), each * lines.out_lane
    done = groups * each + (each if back else 0) - back
    places = [lane * lines.out_lane for lane in range(each)]
    if taps.wide:
        # two vectors of four results become one of half-words, lane by lane in turn
        pairs = zip(places[:OUTPUTS], places[OUTPUTS:], strict=True)
        places = [first | second << 16 for first, second in pairs]
    offsets = bytes((*taps.offsets, *[0] * (LANES - len(taps.offsets))))
    job = (
        *places,
        *np.frombuffer(offsets, "<u4").tolist(),
        lines.lane_step * taps.share,
        ahead,
        behind,
        # the last group of straight code leaves its steps to those of the line
        lines.line_step - done * lines.lane_step + straight * ahead,
        lines.count,
        lines.out_line - done * lines.out_lane + straight * behind,
        groups,
        back * lines.lane_step,
        back * lines.out_lane,
    )
    return mve.helper("mve_taps", "taps", values), tuple(int(v) % mve.WORD for v in job)
