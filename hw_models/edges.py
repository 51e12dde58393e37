# SPDX-License-Identifier: Apache-2.0
"""Where windows leave the image."""

from __future__ import annotations

from functools import cache

import numpy as np

from .work import inside

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
Shape = tuple[int, int, int]


@cache
def edges(
    in_hw: Pair, out_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad, pixels: int
) -> tuple[int, int]:
    """(groups of ``pixels`` outputs that touch the border, kernel rows that cross its sides)."""
    starts = [np.arange(out_hw[a]) * stride[a] - pad[a] for a in (0, 1)]
    spans = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    within = [(s >= 0) & (s + span <= size)
              for s, span, size in zip(starts, spans, in_hw, strict=True)]  # fmt: skip
    flat = (within[0][:, None] & within[1][None, :]).reshape(-1)
    filled = np.pad(flat, (0, -len(flat) % pixels), constant_values=True)
    touching = int((~filled.reshape(-1, pixels).all(axis=1)).sum())
    rows = inside(in_hw[0], out_hw[0], kernel[0], stride[0], dilation[0], pad[0])
    return touching, rows * int((~within[1]).sum())
