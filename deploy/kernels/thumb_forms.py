# SPDX-License-Identifier: Apache-2.0
"""How one 32-bit multiply carries several products on cores without DSP, and why it is exact.

Two forms, each proven from the widths (and, where that leaves something open, the real weights):

* *lanes*: a word holds one activation of two pixels, ``x0 + 65536*x1``; a multiply by a signed
  weight makes a product for each. ``group`` words are summed, then the sum is split.
* *fields*: a word holds ``span`` unsigned weight codes and another as many unsigned activations in
  the opposite order; the top digit of their product is the sum of ``span`` products of one output.
  ``block`` products are summed before the top digit is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..ops.weighted import Weights
from ..types import IntType

LANE_MIN, LANE_MAX = -(1 << 15), (1 << 15) - 1
PIXELS = 4
"""Output pixels computed together."""


@dataclass(frozen=True)
class Core:
    """What differs between the two families.

    Attributes:
        name: folder and suffix of its templates.
        lane_body: instruction bytes of one group of ``g`` words, by g.
        lane_room: bytes that the unrolled loop of groups may take.
        field_limit: fields unrolled at most.
    """

    name: str
    lane_room: int
    field_limit: int

    @property
    def thumb1(self) -> bool:
        """Whether only 16-bit instructions exist."""
        return self.name == "armv6m"


V6M = Core("armv6m", 240, 20)
V7M = Core("armv7m", 400, 20)


@dataclass(frozen=True, eq=False)
class Lanes:
    """Two pixels in one word; ``weight = step*code + offset`` with int8 codes.

    Attributes:
        codes: int8 ``[OC, K]``.
        step: 1 or 2.
        offset: added to every weight; 0 needs no sum of activations.
        group: products summed before the lanes are split.
        centre: subtracted from every activation.
        biased: 0x8000 is added before the split, which removes the condition on negative lanes.
    """

    form: ClassVar[str] = "lanes"
    unit: ClassVar[int] = 1
    codes: NDArray[np.int8]
    step: int
    offset: int
    group: int
    centre: int
    biased: bool
    reach: int

    def groups(self, depth: int) -> int:
        """Groups that cover ``depth`` products."""
        return -(-depth // self.group)

    def body_bytes(self, core: Core) -> int:
        """Instruction bytes of one group."""
        return self.body(core) * (2 if core.thumb1 else 4)

    def body(self, core: Core) -> int:
        """Instructions of one group, all pixels."""
        g = self.group
        if core.thumb1:
            return g + g + 2 * g + 2 * (g - 1) + 7 + self.biased
        return 7 + 8 * (g // 2 - 1) + 4

    def unroll(self, core: Core) -> int:
        """Groups in the unrolled loop."""
        return max(1, core.lane_room // self.body_bytes(core))

    def cost(self, core: Core, depth: int) -> float:
        """Instructions per channel and four pixels, without requantisation."""
        n = self.groups(depth)
        return n * self.body(core) + 2 * n / self.unroll(core)

    def proof(self) -> tuple[str, ...]:
        """Why the lanes stay apart."""
        limit = "-32768..32767" if self.biased else "-32767..32767, carry restores the borrow"
        return (
            "one multiply makes a product for each of two pixels, activations minus"
            f" {self.centre};",
            f"{self.group} are summed before the 16-bit lanes are split: |sum| <= {self.reach},"
            f" within {limit}",
        )


@dataclass(frozen=True, eq=False)
class Fields:
    """``span`` products of one output per multiply; ``weight = step*code + offset``.

    Attributes:
        codes: uint8 ``[OC, K]``.
        bits: of a code.
        slot: bits that a code takes in a weight word, at least ``bits``.
        doubled: whether multipliers are taken out one bit higher, which doubles the codes and so
            turns a step of 2 into one of 1 without an instruction.
        step: 1 or 2, after doubling.
        offset: added to every weight.
        span: weight codes in one multiplier, 2 or 4.
        words: weight words in one block.
        limit: multiplies that the proof allows in one block.
        shift_in: added to every activation to make it unsigned.
        top: largest activation after that.
    """

    form: ClassVar[str] = "fields"
    codes: NDArray[np.uint8]
    bits: int
    slot: int
    doubled: bool
    step: int
    offset: int
    span: int
    words: int
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
    def block(self) -> int:
        """Multiplies before the top digit is taken out."""
        return self.fields * self.words

    @property
    def mask(self) -> int:
        """Selects one multiplier of a weight word."""
        return self.largest * sum(1 << (self.spacing * i) for i in range(self.span))

    @property
    def largest(self) -> int:
        """Largest digit of a multiplier."""
        return ((1 << self.bits) - 1) << self.doubled

    @property
    def shifts(self) -> list[int]:
        """Right shifts that bring the multipliers of a word under the mask."""
        return [self.slot * i - self.doubled for i in range(self.fields)]

    @property
    def tag(self) -> str:
        """Tells forms with different kernels apart."""
        return f"s{self.span}w{self.bits}x{self.slot}b{self.words}{'d' if self.doubled else ''}"

    def multiplies(self, depth: int) -> int:
        """Multiplies that cover ``depth`` products."""
        return -(-depth // self.span)

    def cost(self, core: Core, depth: int) -> float:
        """Instructions per channel and four pixels, without requantisation."""
        n = self.multiplies(depth)
        words, blocks = -(-n // self.fields), -(-n // self.block)
        if core.thumb1:
            return 11 * n + 3 * words + 19 * blocks
        return 6 * n + words + 8 * blocks

    def proof(self) -> tuple[str, ...]:
        """Why the top digit is exact."""
        product = self.largest * self.top
        capacity = (1 << self.spacing) - 1
        worst = self.span * product * self.block
        return (
            f"one multiply adds {self.span} products of one output into its top {self.spacing}"
            f" bits; {self.block} multiplies are summed:",
            f"{self.span} * {product} * {self.block} = {worst} <= {capacity}, lower digits smaller,"
            " so nothing is carried in or lost",
        )


Form = Lanes | Fields


def field_limit(largest: int, top: int, span: int) -> int:
    """Multiplies of ``span`` digits whose sum cannot overflow a digit; 0 where the form fails."""
    worst = span * largest * top
    return ((1 << (32 // span)) - 1) // worst if worst else 1 << 16


def fields_forms(core: Core, weights: Weights, source: IntType) -> list[Fields]:
    """The fields forms of a layer; none where one multiply already overflows."""
    found = []
    top = (1 << source.bits) - 1
    for span in (4, 2):
        slots = {weights.bits, 1 << (weights.bits - 1).bit_length()}
        for slot in sorted(slot for slot in slots if slot <= 32 // span):
            for doubled in (True, False)[weights.step == 1 :]:
                limit = field_limit(((1 << weights.bits) - 1) << doubled, top, span)
                words = min(limit, core.field_limit) // (32 // span // slot)
                if words:
                    found.append(Fields(
                        weights.rows(), weights.bits, slot, doubled, weights.step >> doubled,
                        weights.offset, span, words, limit, -source.lo, top,
                    ))  # fmt: skip
    return found


def lanes_forms(weights: Weights, source: IntType) -> list[Lanes]:
    """The lanes forms that hold for a layer whatever its weights, at least one."""
    found = []
    for codes, grid, step, offset in signed_codes(weights):
        for centre in sorted({0, source.lo + (1 << (source.bits - 1)) - 1}):
            for group in (4, 2):
                form = _lanes(codes, grid, step, offset, group, centre, source)
                if form is not None:
                    found.append(form)
    return found


def signed_codes(
    weights: Weights,
) -> list[tuple[NDArray[np.int8], tuple[int, int], int, int]]:
    """(codes, their range, step, offset): the weights where int8 holds them, and centred codes."""
    found = []
    low, high = weights.offset, weights.offset + weights.step * ((1 << weights.bits) - 1)
    rows = weights.rows().astype(np.int64)
    if low >= -128 and high <= 127:
        found.append(
            ((weights.step * rows + weights.offset).astype(np.int8), (low, high), 1, 0)
        )
    half = 1 << (weights.bits - 1)
    offset = weights.offset + weights.step * half
    if not found or offset:
        found.append(((rows - half).astype(np.int8), (-half, half - 1), weights.step, offset))
    return found


def _lanes(
    codes: NDArray[np.int8], grid: tuple[int, int], step: int, offset: int, group: int,
    centre: int, source: IntType,
) -> Lanes | None:  # fmt: skip
    span = (source.lo - centre, source.hi - centre)
    corners = [code * x for code in grid for x in span]
    if group * min(corners) < LANE_MIN or group * max(corners) > LANE_MAX:
        return None
    low, high = group_range(codes, group, *span)
    # a lane of -32768 above a negative one leaves 32 bits; the added 0x8000 brings it back
    biased = low == LANE_MIN
    return Lanes(codes, step, offset, group, centre, biased, max(-low, high))


def group_range(codes: NDArray[np.integer], group: int, lo: int, hi: int) -> tuple[int, int]:
    """(lowest, highest) sum over any aligned group of products, activations within lo..hi.

    Partial sums count: a group is added up word by word.
    """
    rows = codes.astype(np.int64)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % group)))
    ends = np.stack([rows * lo, rows * hi])
    low = np.minimum(ends.min(axis=0), 0).reshape(len(rows), -1, group).sum(2)
    high = np.maximum(ends.max(axis=0), 0).reshape(len(rows), -1, group).sum(2)
    return int(low.min(initial=0)), int(high.max(initial=0))
