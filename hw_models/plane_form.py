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
PLANES = 4
"""Channels that a stride of two gathers at a time: their bytes are one word of a pixel."""
COLUMNS = 4
"""Columns of one of them before those of the next."""
PLANES_BYTES = 4096
"""Planes of four channels that would be larger come in bands of output rows."""


@dataclass(frozen=True)
class PlaneForm:
    """A padded plane of half-words, for kernels of 3x3.

    Attributes:
        row_bytes: from a row to the next one of its channel, whole words.
        halves: half-words of all planes, with what the last loads reach past them; of four planes
            see `plane_bands`.
        start: half-word of the image's first value; in four planes of its row's.
        odd: whether windows start at odd half-words (a stride of two, an odd padding).
        planes: channels gathered at a time.
        distance: half-words from a plane to the next. Four planes take turns, four columns each.
        split: whether windows start in the second word of four columns.
    """

    row_bytes: int
    halves: int
    start: int
    odd: bool
    planes: int
    distance: int
    split: bool = False


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
    if planes == 2 and channels >= PLANES:
        lead = -(-left // COLUMNS)
        pitch = 2 * PLANES * COLUMNS * (lead - (-(width + right) // COLUMNS))
        if 2 * pitch + 8 * (PLANES + 1) <= LARGEST_OFFSET:
            skipped = lead * COLUMNS - left
            return PlaneForm(
                pitch, 0, lead * PLANES * COLUMNS, skipped % 2 == 1, PLANES, COLUMNS, skipped > 1
            )
    start = top * row_bytes // 2 + left + odd
    return PlaneForm(row_bytes, planes * halves, start, odd, planes, halves)


@dataclass(frozen=True)
class Band:
    """Some output rows of all channels.

    Attributes:
        output: the first of them.
        image: the first row of the image that they see.
        rows: rows of the image that they see.
        start: half-word of the first of these rows' first value.
    """

    output: int
    image: int
    rows: int
    start: int


@dataclass(frozen=True)
class Bands:
    """The bands of a layer, all of ``rows`` outputs each; the last may overlap the one before.

    halves: half-words of the planes.
    """

    rows: int
    bands: tuple[Band, ...]
    halves: int


def plane_bands(
    form: PlaneForm, height: int, rows: int, stride: int, pad: tuple[int, int, int, int]
) -> Bands:
    """The bands of four planes, as few as keep the planes small; else one of all rows."""
    pitch, top = form.row_bytes // 2, pad[0]
    most = max(1, (PLANES_BYTES // form.row_bytes - 3) // stride + 1)
    count = -(-rows // most)
    for each in (-(-rows // count), rows):
        seen = (each - 1) * stride + 3
        found = []
        for index in range(-(-rows // each)):
            output = min(index * each, rows - each)
            above = output * stride - top
            image = max(0, above)
            last = min(height, above + seen)
            start = (image - above) * pitch + form.start
            found.append(Band(output, image, last - image, start))
        if min(band.rows for band in found) > 0:
            break
    return Bands(each, tuple(found), pitch * seen + PLANES * COLUMNS)


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
