# SPDX-License-Identifier: Apache-2.0
"""How the MVE kernels store weight codes: the one place that decides, for emitting and counting.

Codes of at most four bits may share a byte. They are taken apart either once, into working memory
and before the pixels, or by subtracting sums at the end of every tile. Both cost instructions, and
fewer bits must cost none worth speaking of: else codes keep bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .mve_geometry import LANES, rounds_of

SLOWER = 1.02
"""What fewer bits may cost, as a multiple of the instructions of codes in bytes."""
SAVING, SLOWER_YET = 4096, 1.045
"""Where that saves so many bytes of flash: layers of many weights and few pixels."""
COLUMNS, COLUMN_STEP = 40, 8
"""Instructions of the columns of two pixels, at the least, and for each of their vectors."""
ROOM = 2
"""Codes may take this fraction of the bytes of a layer's input and output to be taken apart."""
CONSTANTS = 32
"""Bytes of bias and multiplier of four channels."""


@dataclass(frozen=True)
class Tile:
    """Cost of a dot-product tile in instructions.

    Attributes:
        step: of 16 inputs.
        around: of everything else.
        unmix: to take apart sums of bytes of four codes, and of two.
        channels: of the tile.
    """

    step: int
    around: int
    unmix: tuple[int, int]
    channels: int

    def cost(self, steps: int) -> int:
        """Instructions of a tile of codes in bytes."""
        return self.step * steps + self.around + 2 * rounds_of(steps)

    def mixed(self, fields: int) -> int:
        """Instructions to take sums of so many codes to a byte apart."""
        return 0 if fields == 1 else self.unmix[fields == 2]


CONV_TILE = Tile(14, 23, (6, 4), 4)
ROWS_TILE = Tile(17, 27, (3, 1), 8)


@dataclass(frozen=True)
class Storage:
    """How codes lie in flash.

    Attributes:
        fields: codes of a byte: 1, 2 or 4.
        apart: whether they are taken apart before the pixels, into working memory.
    """

    fields: int
    apart: bool = False


BYTES = Storage(1)


def field_counts(bits: int) -> tuple[int, ...]:
    """How many codes of so many bits can share a byte, the most first."""
    return tuple(fields for fields in (4, 2) if fields * bits <= 8)


def linear_storage(steps: int, counts: Sequence[int]) -> Storage:
    """The densest storage of a fully connected layer's rows that costs next to nothing."""
    cost = ROWS_TILE.cost(steps)
    for fields in counts:
        if cost + ROWS_TILE.mixed(fields) <= SLOWER * cost:
            return Storage(fields)
    return BYTES


def apart_cost(steps: int, fields: int) -> int:
    """Instructions to take the codes of a tile of four channels apart, counted from the loop."""
    return (11 if fields == 2 else 12) * steps + 7


def apart_bytes(steps: int, tiles: int) -> int:
    """Working memory of so many tiles whose codes are taken apart, without zero points."""
    return tiles * (CONV_TILE.channels * LANES * steps + CONSTANTS)


def conv_storage(
    steps: int, tiles: int, pairs: int, groups: int, values: int, counts: Sequence[int]
) -> Storage:
    """The densest storage of a convolution that costs next to nothing.

    Args:
        steps: vectors of a column.
        tiles: of four output channels, of a group.
        pairs: pairs of pixels.
        groups: channel groups; only a single one is taken apart beforehand.
        values: bytes of the input and the output.
        counts: codes that may share a byte, the most first.
    """
    tile = CONV_TILE.cost(steps)
    cost = pairs * (COLUMNS + COLUMN_STEP * steps + tiles * tile)
    found = BYTES
    for fields in counts:
        if cost + pairs * tiles * CONV_TILE.mixed(fields) <= SLOWER * cost:
            found = Storage(fields)
            break
        fits = groups == 1 and ROOM * apart_bytes(steps, tiles) <= values
        if fits and cost + tiles * apart_cost(steps, fields) <= SLOWER * cost:
            found = Storage(fields, apart=True)
            break
    codes = groups * tiles * CONV_TILE.channels * LANES * steps
    for fields in counts:
        saved = codes // found.fields - codes // fields
        mixed = cost + pairs * tiles * CONV_TILE.mixed(fields)
        if saved >= SAVING and mixed <= SLOWER_YET * cost:
            return Storage(fields)
    return found
