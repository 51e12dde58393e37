# SPDX-License-Identifier: Apache-2.0
"""Instructions of the RV32 kernels' loops, counted from the code that clang makes at -O2.

They steer the choice of a form and are features that the cost table prices; results are a feature
of their own and not in these counts. Nothing depends on the data but one instruction of a clamp.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar

from .core_costs import Costs
from .thumb_costs import QUAD

if TYPE_CHECKING:
    from .thumb_core import Core
    from .thumb_forms import FieldsShape, LanesShape
    from .thumb_planes import Plane

TOGETHER = {2: 4, 4: 2}
"""Channels a pass of the lanes form, by the length of a group."""
PAIR = 2
"""Channels a pass of the fields form."""
PLANE_STEP = 4
"""Words of a plane that a round fills."""
COLUMNS, STRAIGHT_COLUMNS = 8, 16
"""Columns of two planes that a round fills, and those of a line without a loop at most."""
REACH = 2047
"""Bytes past its base register that a store reaches."""
TILE = 100.0
"""Instructions around the pieces of four pixels."""


def column_loop(columns: int) -> tuple[int, int]:
    """(rounds, columns after them) of a line of two channels' planes; few columns need no loop."""
    return (0, columns) if columns <= STRAIGHT_COLUMNS else divmod(columns, COLUMNS)


def second_in_reach(columns: int, words: int) -> bool:
    """Whether a store reaches the second plane, so many words on, from the first one's pointer."""
    rounds, straight = column_loop(columns)
    return 4 * (words + (COLUMNS if rounds else straight)) <= REACH


class Rv32Costs(Costs):
    """Instructions of the compiled loops."""

    thin: ClassVar[float] = 1.035

    def lanes(self, core: Core, form: LanesShape, depth: int) -> float:
        """See `Costs`."""
        n, g, together = form.groups(depth), form.group, TOGETHER[form.group]
        spilled = 2 if together > PAIR else 0
        late = 8 if form.offset else 0
        return n * (5 * g + 6 + (2 * g + 3 + spilled) / together) + 15 + late

    def fields(self, core: Core, form: FieldsShape, depth: int) -> float:
        """See `Costs`."""
        n = form.multiplies(depth)
        words, blocks = ceil(n / form.fields), ceil(n / form.block)
        late = 8 if form.offset and form.step == 2 else 0
        return 12 * n + n % form.fields + 2.5 * words + 15.5 * blocks + 25 + late

    def passed(self, core: Core, form: LanesShape | FieldsShape, outputs: int) -> int:
        """See `Costs`."""
        together = PAIR if form.form == "fields" else TOGETHER[form.group]  # type: ignore[union-attr]
        return ceil(outputs / together) * together

    def reading(
        self, core: Core, form: LanesShape | FieldsShape, runs: int, run: int, signed: bool
    ) -> float:
        """See `Costs`."""
        return TILE + runs * self.spread(form, run)

    def spread(self, form: LanesShape | FieldsShape, run: int) -> float:
        """What brings one run of four pixels into the column."""
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

    def row(self, core: Core, form: FieldsShape, depth: int) -> float:
        """See `Costs`."""
        words = ceil(form.multiplies(depth) / form.fields)
        blocks = ceil(words / form.words)
        return words * (form.fields * 3.85 + 2.25) + blocks * 4.5 + 15

    def rows(self, outputs: int, depth: int) -> float:
        """See `Costs`."""
        fours, rest = divmod(depth, 4)
        return ceil(outputs / QUAD) * (40 + 55 * fours + 16 * rest)

    def copy(self, span: int, depth: int, signed: bool) -> float:
        """See `Costs`; the activations are added up, too."""
        if span == 1:
            return 0.0
        return 20 + (2 + 2 * (span - 1) / span + 4 / span + 1 + signed) * depth

    def window(self, plane: Plane, groups: int) -> float:
        """See `Costs`."""
        return 3 * plane.taps + (3 * groups if groups > 1 else 4) + 5

    def fill(self, plane: Plane, centred: bool) -> float:
        """See `Costs`."""
        lines = plane.inside
        fours, rest = divmod(plane.filled, PLANE_STEP)
        each = PLANE_STEP * (5 + centred) + 4
        return (lines > 0) * 30 + lines * (20 + fours * each + rest * (9 + centred))

    def centring(self, plane: Plane, groups: int) -> tuple[float, float]:
        """See `Costs`."""
        return groups == 1, plane.taps + 3 * groups

    def pair_fill(self, plane: Plane, *, moved: bool, low: int) -> float:
        """See `Costs`; a border's other lane has a constant of its own where codes are signed."""
        words = plane.filled
        rounds, straight = column_loop(words)
        far = not second_in_reach(words, plane.words)
        ends = 2 + (3 + far) * (rounds + (straight > 0)) + rounds
        line = (9 + 2 * moved + (low < 0)) * words + ends
        edge = 10 * words + 8 if low < 0 and not moved else line
        return sum(25 + count * (line if both else edge) for both, count in plane.parts)
