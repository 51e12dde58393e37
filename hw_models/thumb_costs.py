# SPDX-License-Identifier: Apache-2.0
"""Instructions of Thumb's loops, counted line by line from the assembly.

They steer the choice of a form and are features that a cost table prices; those of RV32 are in
`rv32_costs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar

from .core_costs import Costs

if TYPE_CHECKING:
    from .thumb_core import Core
    from .thumb_forms import FieldsShape, LanesShape
    from .thumb_planes import Plane

PIXELS = 4
"""Output pixels computed together."""
QUAD = 4
"""Rows of a linear layer computed together, byte by byte."""
UNROLL = 8
"""Activations in the unrolled loop of these."""
STARTS = 3
"""Sums of groups that start at a constant in a register on ARMv6-M, at most."""
PAIR_UNROLL = 8
"""Columns in the loop of ARMv6-M that gathers two channels."""
STRAIGHT = 8
"""Twos of columns that ARMv7-M gathers without a loop."""
STRAIGHT_ROUNDS = 3
"""Rounds of a run's gather that take no loop, at most."""


@dataclass(frozen=True)
class PairLoop:
    """How a line of two channels goes on ARMv7-M, two columns at a time.

    Attributes:
        unrolled: twos of a round.
        rounds: of the loop; 0 where there is none.
        straight: twos without a loop.
        odd: whether a column is left.
    """

    unrolled: int
    rounds: int
    straight: int
    odd: int


def pair_loop(columns: int) -> PairLoop:
    """The loop over so many columns."""
    twos, odd = divmod(columns, 2)
    if twos <= STRAIGHT:
        return PairLoop(0, 0, twos, odd)
    unrolled = min((4, 3), key=lambda count: (twos < 2 * count, twos % count))
    return PairLoop(unrolled, twos // unrolled, twos % unrolled, odd)


def spread_step(thumb1: bool) -> int:
    """Activations in the unrolled loop that writes the fields form's column words."""
    return 8 if thumb1 else 4


def straight_rounds(thumb1: bool, run: int) -> int:
    """Rounds over so many activations that are straight code; 0 where a loop takes them."""
    rounds = run // spread_step(thumb1)
    return rounds if rounds <= STRAIGHT_ROUNDS else 0


@dataclass(frozen=True)
class ThumbCosts(Costs):
    """Instructions of the assembly, by whether there is Thumb-1 only."""

    thumb1: bool
    thin: ClassVar[float] = 1.15

    def lanes(self, core: Core, form: LanesShape, depth: int) -> float:
        """See `Costs`."""
        n = form.groups(depth)
        late = 2 * PIXELS if form.offset else 0
        fixed = 99.25 if self.thumb1 else 46
        return fixed + late + n * form.body(core) + 2 * ceil(n / form.unroll(core))

    def fields(self, core: Core, form: FieldsShape, depth: int) -> float:
        """See `Costs`."""
        n = form.multiplies(depth)
        words, loops = ceil(n / form.fields) - 1, ceil(n / form.unrolled)
        blocks = ceil(n / form.block)
        late = 2 * PIXELS if form.offset and form.step == 2 else 0
        late += PIXELS if form.step == 2 else 0
        if self.thumb1:
            return 99 + late + 11 * n + 3 * words + 16 * blocks + (2 + form.far(core)) * loops
        return 51 + late + 6 * n + words + 6 * blocks + 2 * loops

    def passed(self, core: Core, form: LanesShape | FieldsShape, outputs: int) -> int:
        """See `Costs`."""
        return outputs

    def reading(
        self, core: Core, form: LanesShape | FieldsShape, runs: int, run: int, signed: bool
    ) -> float:
        """See `Costs`."""
        lanes = form.form == "lanes"
        tile, call = ((125, 14) if lanes else (198, 22)) if self.thumb1 else (
            (88, 12) if lanes else (133, 0)
        )  # fmt: skip
        from .thumb_forms import gathers_lefts

        lefts = gathers_lefts(core, form, runs, run)
        return tile + runs * (self.spread(form, run, signed, lefts) + call + 3 * lefts)

    def spread(
        self, form: LanesShape | FieldsShape, run: int, signed: bool, lefts: bool = False
    ) -> float:
        """What brings one run of four pixels into the column, without the call around it."""
        sums = form.offset != 0
        if form.form == "lanes":
            centred = 2 * (form.centre != 0)  # type: ignore[union-attr]
            if sums:
                return 40 + 30.0 * run
            if not self.thumb1:
                return 26 + run * (9 + centred)
            if signed:
                return 27 + run * (14 + centred)
            return 40 + run * (9 + centred) + 6 * ceil(run / 4)
        span, step = form.unit, spread_step(self.thumb1)
        loops, rest = divmod(run, step)
        words, part = divmod(rest, span)
        shifted = 2 * (form.shift_in != 0)  # type: ignore[union-attr]
        if self.thumb1:
            word = 3 * span - 1 + shifted + sums
            loop = step // span * word + 4
            part_cost = (3 * part - 1 + shifted + sums) if part else 0
        else:
            word = 2 * span + shifted + sums
            loop = (2 + shifted + sums if span == 4 else 5 + shifted + 2 * sums) + 2
            part_cost = (2 * part + shifted + sums) if part else 0
        if lefts:
            part_cost = 2 + part * (2 + shifted + sums)
        fixed = 11 + 4 * sums + (6 if sums and span == 4 else 0)
        if straight_rounds(self.thumb1, run):
            loop -= 2
            fixed -= 8 * (not self.thumb1)
        return 24 + PIXELS * (fixed + loops * loop + words * word + part_cost)

    def row(self, core: Core, form: FieldsShape, depth: int) -> float:
        """See `Costs`."""
        words = ceil(form.multiplies(depth) / form.fields)
        loops, blocks = ceil(words / form.words), ceil(words * form.fields / form.block)
        late = 5 if form.step == 2 else 0
        each = words * form.word_instructions(core)
        if self.thumb1:
            return 36 + late + each + 2 * blocks + (2 + form.far_row(core)) * loops
        return 23 + late + each + blocks + 2 * loops

    def rows(self, outputs: int, depth: int) -> float:
        """See `Costs`."""
        quads, tail = divmod(outputs, QUAD)
        if self.thumb1:
            quad = 103 + 13 * depth + 4 * ceil(depth / UNROLL)
            return quads * quad + tail * (43 + 5.25 * depth)
        quad = 40 + 9 * depth + 2 * ceil(depth / UNROLL)
        return quads * quad + tail * (30 + 4.25 * depth)

    def copy(self, span: int, depth: int, signed: bool) -> float:
        """See `Costs`."""
        if self.thumb1:
            return 45 + (5.25 + 2 * signed) * depth
        if span == 1:
            return 0.0
        return 15 + ((4.55 if span == 2 else 4.0) + signed) * depth

    def window(self, plane: Plane, groups: int) -> float:
        """See `Costs`."""
        kh, kw = plane.kernel
        loads = kh * (ceil(kw / 3) if plane.dilation[1] == 1 else kw)
        if self.thumb1:
            split = 3 * groups + 1 + 3 if groups > 1 else 3
            return loads + 2 * plane.taps + plane.taps - groups + kh + split + 4 + 26 + 8
        moved = (kh - 1) * (plane.tap_row != plane.read)
        weights = kh * ceil(kw / 3)
        split = 2 * groups + 2 if groups > 1 else 2
        return loads + weights + plane.taps + moved + split + 4 + 12 + 2

    def fill(self, plane: Plane, centred: bool) -> float:
        """See `Costs`."""
        word = (6 if self.thumb1 else 5) + centred
        lines = plane.inside
        if plane.flat:
            return (lines > 0) * (48 + word * lines + 2 * ceil(lines / 4))
        each = word * plane.filled + 2 * ceil(plane.filled / 4) + (8 if self.thumb1 else 7)
        return (lines > 0) * 40 + lines * each

    def centring(self, plane: Plane, groups: int) -> tuple[float, float]:
        """See `Costs`."""
        if not self.thumb1:
            return super().centring(plane, groups)
        # a start in a register is an addition, one on the stack a load besides
        return groups + max(0, groups - STARTS), 4 + plane.taps + 2 * groups

    def pair_fill(self, plane: Plane, *, moved: bool, low: int) -> float:
        """See `Costs`."""
        words, parts, edges = plane.filled, plane.parts, 0.0
        if not moved and low < 0:
            # zero is no byte of 0 then: one lane's constant is added by other code
            if self.thumb1:
                call, each = 70, (8 - (low == -128)) * words + 4 * ceil(words / 4) + 10
            else:
                call, each = 30, 9 * words + 20
            edges = sum(call + n * each for both, n in parts if not both)
            parts = [(both, count) for both, count in parts if both]
        lines = sum(count for _, count in parts)
        if self.thumb1:
            line = (10 + 2 * moved + 2 * (low < 0)) * words + 2 * ceil(words / PAIR_UNROLL) + 10
            return len(parts) * 62 + lines * line + edges
        loop = pair_loop(words)
        twos = loop.rounds * loop.unrolled + loop.straight
        line = (12 + 4 * moved + 2 * (low < 0)) * twos
        line += (8 + 2 * moved + (low < 0)) * loop.odd + 2
        line += (1 + 2 * loop.rounds) * (loop.rounds > 0)
        line += 2 * (loop.straight + loop.odd == 0)
        return len(parts) * 30 + lines * line + edges
