# SPDX-License-Identifier: Apache-2.0
"""Weights of depthwise windows in the order in which gathers fetch their taps."""

from __future__ import annotations

import numpy as np

from ...hw_models.mve_geometry import Taps
from ..requant import Int64


def patch_weights(taps: Taps, weights: Int64, kernel: tuple[int, int]) -> Int64:
    """Signed bytes ``[outputs, patches, taps]``.

    Args:
        taps: the gathers. Where neighbours share one, its lanes run along the line first, so that
            the weights of the next output are those of this one moved by the stride.
        weights: ``[passes, outputs, kernel taps]``.
        kernel: (height, width).
    """
    passes, outputs, _ = weights.shape
    if taps.share > 1:
        square = weights[0].reshape(-1, *kernel)
        square = square if taps.lines.axis == 1 else square.transpose(0, 2, 1)
        across, along = square.shape[1:]
        data = np.zeros((outputs, across, len(taps.offsets) // across), np.int64)
        data[:, :, :along] = square
        return data.reshape(outputs, 1, -1)
    blocks = len(taps.steps) // passes
    filled = np.zeros((passes, outputs, blocks * len(taps.offsets)), np.int64)
    filled[:, :, : kernel[0] * kernel[1]] = weights
    patches = filled.reshape(passes, outputs, blocks, -1).transpose(1, 2, 0, 3)
    return patches.reshape(outputs, blocks * passes, -1)
