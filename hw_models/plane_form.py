# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels lay out a channel of a depthwise convolution.

The planner builds kernels by these rules and the cost count follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LARGEST_OFFSET = 1020
"""LDRD reaches so many bytes past its base register."""
LARGEST_STEP = 255
"""A store moves its base register by so many bytes at most."""
PAIRS_STRAIGHT = 4
PAIRS_UNROLLED = 2
"""Pairs of outputs in the body of a row's loop; one that is left comes after the loop."""

FEWEST_ROWS = 4
"""Output rows of a band, at the least."""


@dataclass(frozen=True)
class PlaneForm:
    """A padded plane of half-words, for kernels of 3x3.

    Attributes:
        row_bytes: of a row, whole words.
        halves: half-words of the plane, with what the last loads reach past it.
        start: half-word of the image's first value.
        odd: whether windows start at odd half-words (a stride of two, an odd padding).
        planes: channels gathered at a time.
    """

    row_bytes: int
    halves: int
    start: int
    odd: bool
    planes: int


def plane_form(
    in_shape: Sequence[int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
) -> PlaneForm | None:
    """The plane of an image (H, W, C), or None for windows that need the general kernel."""
    height, width, channels = in_shape
    top, left, bottom, right = pad
    planes = 2 if stride[1] == 2 and channels > 1 else 1
    # two channels are stored in words, so the image's first column has to start one
    odd = planes == 2 and left % 2 == 1
    # rows start at words
    row_bytes = 4 * ((width + left + odd + right + 1) // 2)
    if kernel != (3, 3) or dilation != (1, 1) or stride[1] > 2:
        return None
    if 2 * row_bytes + 8 > LARGEST_OFFSET:
        return None
    halves = row_bytes // 2 * (height + top + bottom) + 4
    return PlaneForm(row_bytes, halves, top * row_bytes // 2 + left + odd, odd, planes)


def band_rows(rows: int) -> int:
    """Output rows that a convolution of one channel computes at a time: a divisor of all."""
    return next((n for n in range(FEWEST_ROWS, rows) if rows % n == 0), rows)


def fills(halves: int) -> int:
    """Passes that fill so many half-words; a pass fills 8."""
    return -(-halves // 8)


@dataclass(frozen=True)
class PlaneLoop:
    """The loop over the outputs of a row, two at a time.

    Attributes:
        unrolled: pairs of its body.
        iterations: passes; one is straight code.
        after: pairs after it.
        single: whether one output is left.
    """

    unrolled: int
    iterations: int
    after: int
    single: int


def plane_loop(columns: int) -> PlaneLoop:
    """The loop over a row of so many outputs."""
    pairs, single = divmod(columns, 2)
    if pairs <= PAIRS_STRAIGHT:
        return PlaneLoop(pairs, 1 if pairs else 0, 0, single)
    iterations, after = divmod(pairs, PAIRS_UNROLLED)
    return PlaneLoop(PAIRS_UNROLLED, iterations, after, single)
