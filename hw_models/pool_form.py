# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels go through the windows of a pool; planner and cost count agree by it."""

from __future__ import annotations

from dataclasses import dataclass

LANES = 4
"""Channels of a word."""
STRAIGHT_TAPS = 9
"""Windows of so many positions at most are straight code."""
MOST_UNROLLED = 8


@dataclass(frozen=True)
class PoolForm:
    """The loops over one window.

    Attributes:
        straight: whether a window inside the image is straight code.
        whole: whether the rows of a window follow each other without a gap, one long row.
        unrolled: positions of a pass of the loop over a row, which they divide.
    """

    straight: bool
    whole: bool
    unrolled: int


def pool_form(
    in_hw: tuple[int, ...], kernel: tuple[int, int], pad: tuple[int, int, int, int]
) -> PoolForm:
    """The form of a pool of ``kernel`` over an image of ``in_hw`` with ``pad`` around it."""
    straight = kernel[0] * kernel[1] <= STRAIGHT_TAPS
    whole = kernel[1] == in_hw[1] and not any(pad)
    row = kernel[0] * kernel[1] if whole else kernel[1]
    unrolled = 1 if any(pad) else max(n for n in range(1, MOST_UNROLLED + 1) if row % n == 0)
    return PoolForm(straight, whole, unrolled)
