# SPDX-License-Identifier: Apache-2.0
"""The forms that a layer takes on cores without DSP, and the instructions of each.

Two forms (`adaqat.deploy.kernels.thumb_forms` proves them): *lanes*, a word holds an activation of
two pixels; *fields*, a word holds several weights or several activations of one output. What a form
costs, a core's own counts say (`thumb_costs`), so that the choice, made for the kernel and for the
cost report alike, is the same and right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, lcm
from typing import ClassVar

from .thumb_core import Core
from .thumb_costs import spread_step, straight_rounds

LANE_MIN, LANE_MAX = -(1 << 15), (1 << 15) - 1


@dataclass(frozen=True)
class Grid:
    """Weights ``step*code + offset`` with codes of ``bits`` bits, and the activations' range."""

    bits: int
    step: int
    offset: int
    act_bits: int
    act_low: int

    @property
    def ends(self) -> tuple[int, int]:
        """Lowest and highest weight."""
        return self.offset, self.offset + self.step * ((1 << self.bits) - 1)

    @property
    def act_ends(self) -> tuple[int, int]:
        """Lowest and highest activation."""
        return self.act_low, self.act_low + (1 << self.act_bits) - 1

    @property
    def centres(self) -> list[int]:
        """What may be subtracted from activations: nothing, or their middle."""
        return sorted({0, self.act_low + (1 << (self.act_bits - 1)) - 1})


def usual_grid(bits: int, act_bits: int, act_signed: bool) -> Grid:
    """The grid of trained weights: symmetric, at 1 bit -1 and 1."""
    low = -(1 << (act_bits - 1)) if act_signed else 0
    return Grid(bits, 2 if bits == 1 else 1, -1 if bits == 1 else -(1 << (bits - 1)), act_bits, low)


@dataclass(frozen=True, eq=False)
class LanesShape:
    """Two pixels in one word; ``weight = step*code + offset`` with int8 codes.

    Attributes:
        step: 1 or 2.
        offset: added to every weight; 0 needs no sum of activations.
        group: products summed before the lanes are split.
        centre: subtracted from every activation.
    """

    form: ClassVar[str] = "lanes"
    unit: ClassVar[int] = 1
    step: int
    offset: int
    group: int
    centre: int

    def groups(self, depth: int) -> int:
        """Groups that cover ``depth`` products."""
        return ceil(depth / self.group)

    def body_bytes(self, core: Core) -> int:
        """Instruction bytes of one group."""
        return self.body(core) * (2 if core.thumb1 else 4)

    def body(self, core: Core) -> int:
        """Instructions of one group, all pixels."""
        g = self.group
        return 6 * g + 5 if core.thumb1 else 4 * g + 3

    def unroll(self, core: Core) -> int:
        """Groups in the unrolled loop."""
        return max(1, core.lane_room // self.body_bytes(core))

    def cost(self, core: Core, depth: int) -> float:
        """Instructions per channel and four pixels, results included."""
        return core.costs.lanes(core, self, depth)


@dataclass(frozen=True, eq=False)
class FieldsShape:
    """``span`` products of one output per multiply; ``weight = step*code + offset``.

    Attributes:
        bits: of a code.
        slot: bits that a code takes in a weight word, at least ``bits``.
        doubled: whether multipliers are taken out one bit higher, which doubles the codes and so
            turns a step of 2 into one of 1 without an instruction.
        step: 1 or 2, after doubling.
        offset: added to every weight.
        span: weight codes in one multiplier, 2 or 4.
        words: weight words in the unrolled loop, which is whole blocks.
        block: multiplies before the top digit is taken out.
        limit: multiplies that the proof allows in one block.
        shift_in: added to every activation to make it unsigned.
        top: largest activation after that.
    """

    form: ClassVar[str] = "fields"
    bits: int
    slot: int
    doubled: bool
    step: int
    offset: int
    span: int
    words: int
    block: int
    limit: int
    shift_in: int
    top: int

    @property
    def unit(self) -> int:
        """Activations in one column word."""
        return self.span

    @property
    def spacing(self) -> int:
        """Bits between the digits of a word."""
        return 32 // self.span

    @property
    def fields(self) -> int:
        """Multipliers in one weight word."""
        return self.spacing // self.slot

    @property
    def unrolled(self) -> int:
        """Multiplies in the unrolled loop."""
        return self.fields * self.words

    @property
    def outs(self) -> int:
        """Times that the unrolled loop takes the top digit out."""
        return self.unrolled // self.block

    @property
    def largest(self) -> int:
        """Largest digit of a multiplier."""
        return ((1 << self.bits) - 1) << self.doubled

    def multiplies(self, depth: int) -> int:
        """Multiplies that cover ``depth`` products."""
        return ceil(depth / self.span)

    def weight_bytes(self, outputs: int, depth: int) -> int:
        """Flash of the packed weights of ``outputs`` channels."""
        return outputs * 4 * ceil(self.multiplies(depth) / self.fields)

    def far(self, core: Core) -> bool:
        """Whether the loop is too long for a conditional branch of ARMv6-M."""
        return core.thumb1 and self.words * (6 + 22 * self.fields) + 28 + 32 * self.outs > 240

    def cost(self, core: Core, depth: int) -> float:
        """Instructions per channel and four pixels, results included."""
        return core.costs.fields(core, self, depth)

    def word_instructions(self, core: Core) -> int:
        """Instructions for one weight word of a linear layer."""
        if core.thumb1:
            return 1 + 4 * self.fields + ceil(self.fields / 2)
        return 1 + 2 * self.fields + ceil(self.fields / 4)

    def far_row(self, core: Core) -> bool:
        """Whether the loop of a linear layer is too long for a conditional branch."""
        size = 2 * self.words * self.word_instructions(core) + 4 * self.outs
        return core.thumb1 and size + 16 > 240

    def row_cost(self, core: Core, depth: int) -> float:
        """Instructions of one row of a linear layer, its result included."""
        return core.costs.row(core, self, depth)


def field_limit(largest: int, top: int, span: int) -> int:
    """Multiplies of ``span`` digits whose sum cannot overflow a digit; 0 where the form fails."""
    worst = span * largest * top
    return ((1 << (32 // span)) - 1) // worst if worst else 1 << 16


def blocks(core: Core, span: int, fields: int, limit: int) -> Iterator[tuple[int, int]]:
    """(words of the unrolled loop, multiplies of a block) that keep the proof.

    One block of whole words; or longer blocks, several in a loop, where words end inside them.

    Args:
        core: the family.
        span: digits of a word.
        fields: multipliers in a word.
        limit: multiplies that the proof allows in a block.
    """
    room = core.short_limit if span == 4 else core.field_limit
    whole = min(limit, room) // fields
    if whole:
        yield whole, whole * fields
    if not core.split_words:
        return
    for block in range(min(limit, room), whole * fields, -1):
        if lcm(block, fields) <= room:
            yield lcm(block, fields) // fields, block
            return


def fields_shapes(core: Core, grid: Grid) -> Iterator[FieldsShape]:
    """The fields forms of a layer; none where one multiply already overflows.

    Wider slots are forms too: what serves wide codes serves narrow ones.
    """
    top = (1 << grid.act_bits) - 1
    for span in (4, 2):
        for slot in range(grid.bits, min(8, 32 // span) + 1):
            if slot > grid.bits and 32 // span // slot == 32 // span // (slot - 1):
                continue  # as many multipliers in a word as the narrower slot has
            for doubled in (True, False)[grid.step == 1 :]:
                limit = field_limit(((1 << grid.bits) - 1) << doubled, top, span)
                for words, block in blocks(core, span, 32 // span // slot, limit):
                    yield FieldsShape(
                        grid.bits, slot, doubled, grid.step >> doubled, grid.offset, span, words,
                        block, limit, -grid.act_low, top,
                    )  # fmt: skip


def lanes_shapes(grid: Grid) -> Iterator[LanesShape]:
    """The lanes forms that hold for a layer whatever its weights, at least one."""
    half = 1 << (grid.bits - 1)
    low, high = grid.ends
    choices = []
    if low >= -128 and high <= 127:
        choices.append((low, high, 1, 0))
    offset = grid.offset + grid.step * half
    if not choices or offset:
        choices.append((-half, half - 1, grid.step, offset))
    for first, last, step, offset in choices:
        for centre in grid.centres:
            corners = [w * (x - centre) for w in (first, last) for x in grid.act_ends]
            for group in (4, 2):
                if group * min(corners) >= LANE_MIN and group * max(corners) <= LANE_MAX:
                    yield LanesShape(step, offset, group, centre)


def gathers_lefts(core: Core, form: FieldsShape | LanesShape, runs: int, run: int) -> bool:
    """Whether what whole words leave over of every run shares words, each run in a lane.

    So the nine activations that a 3x3 window of three channels sees in a row take two words and a
    lane instead of three words.

    Args:
        core: the family.
        form: of the layer.
        runs: pieces of adjacent activations in a column.
        run: activations of one piece.
    """
    if not core.assembly or not isinstance(form, FieldsShape) or form.span != 4:
        return False
    whole, left = divmod(run, form.span)
    straight = run < spread_step(core.thumb1) or straight_rounds(core.thumb1, run) > 0
    # lanes are added up without a carry; a store reaches one word further
    fits = (whole + left) * form.top < 1 << form.spacing and left <= 2
    return straight and fits and whole > 0 and 0 < left < runs <= form.span


def padded_depth(core: Core, form: FieldsShape | LanesShape, runs: int, run: int) -> int:
    """Activations of a column, every run filled up to whole words or its lefts put together."""
    if gathers_lefts(core, form, runs, run):
        return runs * (run - run % form.unit) + run % form.unit * form.unit
    return runs * ceil(run / form.unit) * form.unit
