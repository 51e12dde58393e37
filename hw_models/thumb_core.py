# SPDX-License-Identifier: Apache-2.0
"""The families of kernels for cores without DSP, which share their forms and planners."""

from __future__ import annotations

from dataclasses import dataclass

from .core_costs import Costs
from .rv32_costs import TOGETHER, Rv32Costs
from .thumb_costs import ThumbCosts


@dataclass(frozen=True)
class Core:
    """What differs between the families.

    Attributes:
        name: folder and suffix of its templates.
        costs: instructions of its loops.
        lane_room: bytes that the unrolled loop of groups may take.
        interleaved: channels whose weights the lanes form interleaves, for groups of two and four.
        shifts: whether weights carry the left shift of the results where lanes have room for it.
        split_words: whether a block of the fields form may end inside a weight word.
        whole_quads: whether linear layers byte by byte are filled up to whole fours of rows.
        byte_taps: whether depthwise weights are stored as they are used, in bytes.
        assembly: whether its loops are assembly.
        field_limit: fields unrolled at most.
        short_limit: the same where digits have 8 bits, which few multiplies fill.
    """

    name: str
    costs: Costs
    lane_room: int
    interleaved: tuple[int, int]
    shifts: bool
    split_words: bool = True
    whole_quads: bool = False
    byte_taps: bool = False
    assembly: bool = True
    field_limit: int = 20
    short_limit: int = 20

    @property
    def thumb1(self) -> bool:
        """Whether only 16-bit instructions exist."""
        return self.name == "armv6m"

    def together(self, group: int) -> int:
        """Channels whose weights the lanes form interleaves, by the length of a group."""
        return self.interleaved[group != 2]


V6M = Core("armv6m", ThumbCosts(thumb1=True), 240, (8, 8), shifts=True)
V7M = Core("armv7m", ThumbCosts(thumb1=False), 400, (1, 1), shifts=False)
# portable C: whole words, rows and bytes serve compilers best
RV32 = Core(
    "rv32", Rv32Costs(), 1, (TOGETHER[2], TOGETHER[4]), shifts=True, split_words=False,
    whole_quads=True, byte_taps=True, assembly=False, short_limit=24,
)  # fmt: skip
CORES = {core.name: core for core in (V6M, V7M, RV32)}
