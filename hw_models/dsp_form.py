# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels take rows of weights apart and go through them.

The planner builds kernels by these rules and the cost count follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .dsp_column import Column

HALF_MAX = (1 << 15) - 1
BYTE_MAX = (1 << 8) - 1
SLOWER = 1.01
"""A denser way of packing is used up to this ratio of the fewest instructions."""
LOOP_BUDGET = 112
"""Instructions of an unrolled loop body, at most (except where one word has more)."""
STRAIGHT_BUDGET = 160
"""Instructions of a row without a loop, and of a loop body with what follows it, at most."""
COUNTS = (4, 3)
"""Unrolled counts that layers share, best first."""
LONG_WORD, LONG_COUNTS = 24, (3, 4, 2)
"""The same for words of at least so many instructions, whose loops cost less."""
SUMS_CALL = 6.0
"""Instructions of a call that adds up the bytes of a run, besides those of the bytes."""
MASKED_INLINE = 5.0
"""Instructions that take copies of signs off a word of both pixels, short runs at borders too."""
SPREAD = 1.2
"""Largest sum of a row's codes against the sum of as many middling codes, about."""


@dataclass(frozen=True)
class Packing:
    """How weight words hold codes: see `adaqat.deploy.kernels.dsp_packing`.

    Attributes:
        mode: "bytes", "fields" or "products".
        fields: column words that one weight word covers.
        group: column words of one product group; 0 in other modes.
        sums: whether the kernel needs the sum of every column.
    """

    mode: str
    fields: int
    group: int
    sums: bool

    @property
    def words_per_block(self) -> int:
        """Column words of four activations."""
        return 1 if self.mode == "products" else 2

    def tile_word(self) -> int:
        """Instructions of one weight word in the inner loop of a tile."""
        fields = self.fields
        if self.mode == "products":
            return 1 + (5 if fields == 1 else 7) * fields + 4 * fields // self.group
        return 1 + (fields + 1) // 2 + 6 * fields

    def rows_word(self) -> int:
        """Instructions of one weight word of every row in the inner loop of a row function."""
        fields = self.fields
        if self.mode == "products":
            return 1 + (fields + 3) // 4 + 4 * fields + 2 * max(1, fields // self.group)
        return 1 + (fields + 1) // 2 + 8 * fields

    def tile_cost(self, outputs: int, column: Column) -> float:
        """Instructions of a tile of two channels by two pixels, with its share of the column.

        Loops and late shifts are left out, so that the choice follows from widths and shape.
        """
        blocks = ceil(column.runs * column.run / 4)
        columns = blocks * self.words_per_block
        words = -(-columns // self.fields)
        gather = (4 if self.mode == "products" else 7) * blocks
        own = 3 if self.sums else 0
        if self.mode == "bytes":
            own += 14 * blocks + 21
        elif self.mode == "fields":
            own += 13 * blocks + words + 21
        else:
            each = 7 if self.fields > 1 else 5
            own += each * columns + words + 4 * -(-columns // self.group) + 27
        sums = 3 * blocks + 12 if self.sums else 0
        return own + (gather + sums) / ((outputs + 1) // 2)

    def masked_cost(self, outputs: int, column: Column) -> float:
        """The same where bytes hold copies of a sign, which sums and product groups may not.

        Packings lie close together then, so that loops count, and calls and borders of short runs.
        """
        columns = column.blocks * self.words_per_block
        loop = loop_shape(columns, self.fields, self.tile_word())
        own = loop.iterations * (2 if self.mode == "bytes" else 3)
        masks = 0.0
        if self.sums or self.mode == "products":
            masks = (MASKED_INLINE if column.straight else 2) * column.blocks
        if self.sums and not column.straight:
            masks += SUMS_CALL * column.runs
        return self.tile_cost(outputs, column) + own + masks / ((outputs + 1) // 2)

    def rows_cost(self, outputs: int, row: int) -> float:
        """Instructions of a fully connected layer, not of product groups, about."""
        blocks = -(-row // 4)
        columns = 2 * blocks
        words = -(-columns // self.fields)
        own = 8 * columns + words * (1 + (self.fields + 1) // 2) + 21
        return -(-outputs // 4) * (own + 5 * self.sums) + blocks * (8 + self.sums)


def group_length(largest_code: int, largest_act: int) -> int:
    """Accumulations that keep the middle byte of a product group below 256, at the worst."""
    return BYTE_MAX // max(1, 4 * largest_code * largest_act)


def product_group(bits: int, longest: int) -> int:
    """Accumulations of a product group, of which at most ``longest`` fit."""
    fields = 8 // bits
    return max(g for g in (1, 2, 4, 8) if g <= longest and fields % g == 0)


def cheapest(packings: list[Packing], outputs: int, column: Column, *, masked: bool) -> int:
    """Which of the packings, densest first, a convolution takes.

    Args:
        packings: those that the widths allow.
        outputs: outputs of a group.
        column: what one output pixel reads.
        masked: whether sums need the copies of the sign taken off (`masked_sums`).
    """
    if masked:  # no instruction is left for density
        return _densest([packing.masked_cost(outputs, column) for packing in packings], 1.0)
    return _densest([packing.tile_cost(outputs, column) for packing in packings], SLOWER)


def cheapest_rows(packings: list[Packing], outputs: int, row: int) -> int:
    """Which of the packings, densest first, so many rows of so many codes take."""
    if packings[0].mode == "products":
        return 0
    return _densest([packing.rows_cost(outputs, row) for packing in packings], SLOWER)


def _densest(costs: list[float], slower: float) -> int:
    return next(i for i, cost in enumerate(costs) if cost <= slower * min(costs))


def masked_sums(act_bits: int, act_signed: bool) -> bool:
    """Whether an activation's byte holds copies of its sign, which no sum may contain."""
    return act_signed and act_bits < 8


def expected_packing(
    weight_bits: int, act_bits: int, outputs: int, column: Column, *, act_signed: bool = False
) -> Packing:
    """The packing of a convolution on the symmetric grid whose weights reach the largest code.

    Args:
        weight_bits: of the weights.
        act_bits: of the activations.
        outputs: outputs of a group.
        column: what one output pixel reads.
        act_signed: whether activations are.
    """
    row = column.runs * column.run
    found = _packings(weight_bits, act_bits, row, whole_sums=False)
    return found[cheapest(found, outputs, column, masked=masked_sums(act_bits, act_signed))]


def expected_rows_packing(weight_bits: int, act_bits: int, outputs: int, row: int) -> Packing:
    """The same for a fully connected layer of so many weights an output."""
    found = _packings(weight_bits, act_bits, row, whole_sums=True)
    return found[cheapest_rows(found, outputs, row)]


def _packings(weight_bits: int, act_bits: int, row: int, *, whole_sums: bool) -> list[Packing]:
    """Packings that the widths allow, densest first; ``whole_sums``: of groups in whole words."""
    found = []
    top, code = (1 << act_bits) - 1, (1 << weight_bits) - 1
    longest = group_length(code, top)
    fits = whole_sums or SPREAD * row * code / 2 * top <= HALF_MAX
    if weight_bits <= 6 and longest >= 1 and fits:
        longest = min(longest, 4) if whole_sums else longest
        fields = 8 // weight_bits
        found.append(Packing("products", fields, product_group(weight_bits, longest), True))
    if weight_bits <= 5:
        found.append(Packing("fields", 16 // weight_bits, 0, True))
    found.append(Packing("bytes", 2, 0, False))
    return found


@dataclass(frozen=True)
class Loop:
    """The shape of an inner loop over the weight words of a row.

    Attributes:
        unrolled: weight words of the loop's body; of the straight code where there is no loop.
        iterations: passes of the loop; 0 where there is none.
        after: whole words after the loop.
        rest: column words of one more word, that is not full.
        fields: column words of a whole word.
    """

    unrolled: int
    iterations: int
    after: int
    rest: int
    fields: int

    @property
    def looped_columns(self) -> int:
        """Column words that the loop consumes."""
        return self.unrolled * self.iterations * self.fields

    def values(self) -> dict[str, object]:
        """What the kernel templates print; the same for all lengths of the loop."""
        straight = self.after if self.iterations else self.unrolled
        return {
            "looped": self.iterations > 0,
            "unrolled": self.unrolled if self.iterations else 0,
            "after": straight,
            "rest": self.rest,
            "straight_columns": straight * self.fields + self.rest,
        }


def loop_shape(columns: int, fields: int, instructions: int) -> Loop:
    """The loop for so many column words, with so many instructions a weight word."""
    words, rest = divmod(columns, fields)
    most = max(1, LOOP_BUDGET // instructions)
    best = LONG_COUNTS if instructions >= LONG_WORD else COUNTS
    counts = [count for count in best if count <= most] or [most]
    for count in counts:
        if rest == 0 and words % count == 0 and words >= count:
            return Loop(count, words // count, 0, 0, fields)
    straight = max(most, STRAIGHT_BUDGET // instructions)
    if words <= straight:
        return Loop(words, 0, 0, rest, fields)
    choices = [
        (words // count, count + words % count, count)
        for count in range(1, most + 1)
        if count == 1 or count + words % count <= straight
    ]
    iterations, _, count = min(choices)
    return Loop(count, iterations, words - count * iterations, rest, fields)


def unrolled_blocks(blocks: int) -> int:
    """Words that one pass of the widening function takes."""
    return next(count for count in (4, 3, 2, 1) if blocks % count == 0)
