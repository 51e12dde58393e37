# SPDX-License-Identifier: Apache-2.0
"""Instructions of the RV32 kernels' loops, counted from the code that clang makes at -O2.

They steer the choice of a form and are features that the cost table prices; results are a feature
of their own and not in these counts. Nothing depends on the data but one instruction of a clamp.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .thumb_core import Core
from .thumb_forms import FieldsShape, LanesShape

THIN = 1.035
"""A form that wastes half of its flash must be faster by this."""
TILE = 100.0
"""Instructions around the pieces of four pixels."""
ROWS = 4
"""Rows of a linear layer a pass."""
PAIR = 2
"""Channels a pass of the fields form."""


def passed(core: Core, form: LanesShape | FieldsShape, outputs: int) -> int:
    """Channels that the passes compute, those of the last one included that are dropped."""
    if not core.riscv:
        return outputs
    together = PAIR if form.form == "fields" else core.together(form.group)  # type: ignore[union-attr]
    return ceil(outputs / together) * together


def lanes(core: Core, form: LanesShape, depth: int) -> float:
    """Instructions per channel and four pixels."""
    n, g, together = form.groups(depth), form.group, core.together(form.group)
    spilled = 2 if together > PAIR else 0
    return n * (5 * g + 6 + (2 * g + 3 + spilled) / together) + 15 + (8 if form.offset else 0)


def fields(form: FieldsShape, depth: int) -> float:
    """Instructions per channel and four pixels."""
    n = form.multiplies(depth)
    words, blocks = ceil(n / form.fields), ceil(n / form.block)
    late = 8 if form.offset and form.step == 2 else 0
    return 12 * n + n % form.fields + 2.5 * words + 15.5 * blocks + 25 + late


def row(form: FieldsShape, words: int) -> float:
    """Instructions of one row of a linear layer."""
    blocks = ceil(words / form.words)
    return words * (form.fields * 3.85 + 2.25) + blocks * 4.5 + 15


def rows(quads: int, depth: int) -> float:
    """Instructions of the rows of a linear layer that go byte by byte, four at a time."""
    fours, rest = divmod(depth, 4)
    return quads * (40 + 55 * fours + 16 * rest)


def copy(span: int, depth: int, sums: bool, shifted: bool) -> float:
    """Instructions that bring the activations of a linear layer into column words."""
    if span == 1:
        return 0.0
    return 20 + (2 + 2 * (span - 1) / span + 4 / span + sums + shifted) * depth


def spread(form: LanesShape | FieldsShape, run: int) -> float:
    """Instructions that bring one run of four pixels into the column."""
    sums = form.offset != 0
    if form.form == "lanes":
        centred = 2 * (form.centre != 0)  # type: ignore[union-attr]
        fours, rest = divmod(run, 4)
        each = 10 + centred + 4 * sums
        return 25 + 8 * sums + fours * (4 * each + 6) + rest * (each + 6)
    shifted = form.shift_in != 0  # type: ignore[union-attr]
    span = form.unit
    loops, rest = divmod(run, 4)
    words, part = divmod(rest, span)
    each = 1 + sums + shifted
    word = span * each + 2 * (span - 1) + 1
    loop = (2 * word if span == 2 else word) + 3
    return 30 + 4 * (15 + loops * loop + words * word + (part * (each + 3) + 6 if part else 0))


def pair(taps: int, groups: int) -> float:
    """Instructions of two depthwise outputs of a window."""
    return 3 * taps + (3 * groups if groups > 1 else 4) + 5
