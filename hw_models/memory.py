# SPDX-License-Identifier: Apache-2.0
"""How long a core waits for the flash of a board: an estimate from what a node reads.

A core's cycle table holds for memory without wait states. Code and weights in flash add waits: one
per line that is read and is in no cache. The estimate follows from sizes that every cost table
knows; it is no simulation of the cache. Its validation is in the board files.
"""

from __future__ import annotations

from math import ceil

from pydantic import Field

from .core_timing import Status
from .files import Record
from .work import Work

LOAD_BYTES = 4
"""Bytes of constants that a kernel fetches with one load."""
INNER = ("bytes_tile", "fields_tile", "products_tile", "half_tile")
"""Tiles of pixels by channels; the others are tiles of pixels, each going through all weights."""


class Flash(Record):
    """Program memory of a board.

    Attributes:
        wait_states: cycles a line costs beyond the first.
        line_bytes: bytes that one access fetches.
        data_cache_bytes: cache in front of constants, 0 for none.
        code_cache_bytes: cache in front of code, 0 for none.
        status, source: where the figures are from.
        note: what the model leaves out.
    """

    wait_states: int = Field(ge=0)
    line_bytes: int = Field(ge=1)
    data_cache_bytes: int = Field(ge=0)
    code_cache_bytes: int = Field(ge=0)
    status: Status
    source: str
    note: str = ""

    def stall_cycles(
        self, const_bytes: int, times: int, code_bytes: int, taken_branches: float
    ) -> float:
        """Waits of one call of a node.

        Args:
            const_bytes: its constants.
            times: how often they are gone through.
            code_bytes: code that runs.
            taken_branches: how often code does not go on in line.

        Constants that fit the cache are fetched once, larger ones every time; without a cache every
        load waits. Code in a cache is fetched once; without one every taken branch waits, while
        code in line is fetched ahead.
        """
        if self.data_cache_bytes == 0:
            reads = ceil(const_bytes / LOAD_BYTES) * times
        else:
            fits = const_bytes <= self.data_cache_bytes
            reads = ceil(const_bytes / self.line_bytes) * (1 if fits else times)
        if self.code_cache_bytes == 0:
            fetches = taken_branches
        else:
            fetches = float(ceil(code_bytes / self.line_bytes))
        return self.wait_states * (reads + fetches)


def passes(work: Work) -> int:
    """How often a node goes through its constants: once per tile of pixels, else once."""
    if work.kind != "conv2d":
        return 1
    for name in ("tile", "pixel"):
        if name in work.features:
            return max(1, work.features[name])
    tiles = (n for f, n in work.features.items() if f.endswith("_tile") and f not in INNER)
    return max(1, sum(tiles))
