# SPDX-License-Identifier: Apache-2.0
"""Depthwise 3x3 convolution of stride 1 on cores with MVE: blocks of two by two outputs.

A gather of four words fetches 4x4 bytes of a channel's plane; the 3x3 weights at the four places
inside them are four constant vectors, so four VMLADAV make four outputs. Words have to lie at word
addresses, so that a second plane, two bytes on, serves every other block.
"""

from __future__ import annotations

import numpy as np

from ...hw_models.mve_geometry import BLOCK, in_blocks
from ..ops.base import CPlan, TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from . import mve_packing as mve
from .mve_plane import Planes, flip_of, plan_of, records, scaled, tap_weights

GAP = 4
"""Bytes between the planes: the second is written from two bytes before its start."""


def serves(op: DepthwiseConv2d, output: TensorInfo) -> bool:
    """Whether whole blocks cover the outputs, and the weights fit a byte."""
    window, shape = op.window, (output.shape[0], output.shape[1], output.shape[2])
    whole = in_blocks(shape, window.kernel, window.stride, window.dilation)
    return whole and len(tap_weights(op)[0]) == 1


def plan(op: DepthwiseConv2d, source: TensorInfo, output: TensorInfo) -> CPlan:
    """Plan of a layer that `serves` takes."""
    height, image, _ = source.shape
    top, left, bottom, right = op.window.pad
    rows, columns, outputs = output.shape
    gap = -(image + left + right) % 4 + left + right
    width = image + gap
    plane = width * (height + top + bottom)
    weights, shift = tap_weights(op)
    data = np.zeros((outputs, 3, 4), np.int64)
    data[:, :, :3] = weights[0].reshape(outputs, 3, 3)
    flip = flip_of(source.type)
    record = records(op, data.reshape(outputs, 12), flip, halved=scaled(op, shift, 1))
    pairs, single = divmod(columns // BLOCK, 2)
    values: dict[str, object] = {
        "shift": shift,
        "scaled": scaled(op, shift, 1),
        "pairs": pairs > 0,
        "single": single == 1,
        **mve.requant_values(op.requant),
    }
    kernel = mve.helper("mve_blocks", "blocks", values)
    across = columns * outputs
    job = (
        0, outputs, across, across + outputs,
        0, width, 2 * width, 3 * width,
        rows // BLOCK, pairs, BLOCK * outputs, BLOCK * width - 4 * pairs,
        BLOCK * across - columns * outputs, plane + GAP,
    )  # fmt: skip
    planes = Planes(
        gap=gap,
        start=top * width + left,
        second=plane + GAP,
        filled=(2 * plane + GAP) * any(op.window.pad),
        size=2 * plane + GAP,
    )
    return plan_of(op, source, outputs, planes, kernel, record, job)
