# SPDX-License-Identifier: Apache-2.0
"""Instructions of the RV32 kernels, counted from the code that clang makes at -O2.

They steer the choice of a form and are the features that the cost table prices. No count depends on
the data: clamps have no branches.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .thumb_forms import Core, FieldsShape, LanesShape

TILE = 120.0
"""Instructions around the pieces of four pixels."""
BYTE = 14.0
"""Requantisation, clamp and store of one result."""


def lanes(core: Core, form: LanesShape, depth: int) -> float:
    """Instructions per channel and four pixels, results included."""
    n, g, together = form.groups(depth), form.group, core.together(form.group)
    shared = (2 * g + 4) / together
    late = 8 if form.offset else 0
    return n * (5 * g + 6 + shared) + 4 * BYTE + 12 + late


def fields(form: FieldsShape, depth: int) -> float:
    """Instructions per channel and four pixels, results included."""
    n = form.multiplies(depth)
    words, blocks = ceil(n / form.fields), ceil(n / form.block)
    late = 8 if form.offset and form.step == 2 else 0
    return n * (2 + 4 + 4 + 2) + words * 3 + blocks * 9 + 4 * BYTE + 20 + late


def row(form: FieldsShape, words: int) -> float:
    """Instructions of one row of a linear layer, its result included."""
    blocks = ceil(words / form.words)
    late = 1 if form.offset and form.step == 2 else 0
    return words * (form.fields * 4.25 + 2.75) + blocks * 2.5 + BYTE + 10 + late


def rows(quads: int, tail: int, depth: int) -> float:
    """Instructions of the rows of a linear layer that go byte by byte."""
    return quads * (4 * BYTE + 25 + 13.75 * depth) + tail * (30 + 4.75 * depth)


def copy(span: int, depth: int) -> float:
    """Instructions that bring the activations of a linear layer into column words."""
    return 20 + (4.0 if span > 1 else 0.0) * depth


def spread(form: LanesShape | FieldsShape, run: int) -> float:
    """Instructions that bring one run of four pixels into the column."""
    sums = form.offset != 0
    if form.form == "lanes":
        return 25 + run * (12 + 4 * sums)
    return 30 + 4 * (15 + run * (3.5 + sums))


def pair(taps: int, groups: int) -> float:
    """Instructions of two depthwise outputs of a window."""
    split = 3 * groups + 2 if groups > 1 else 4
    return 3 * taps + split + 2 * BYTE + 3
