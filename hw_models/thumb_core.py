# SPDX-License-Identifier: Apache-2.0
"""The families of kernels for cores without DSP, which share their forms and planners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Core:
    """What differs between the families.

    Attributes:
        name: folder and suffix of its templates.
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

    @property
    def riscv(self) -> bool:
        """Whether the kernels are portable C for RV32 (`adaqat.hw_models.rv32_costs`)."""
        return self.name == "rv32"

    @property
    def shifts(self) -> bool:
        """Whether weights carry the left shift of the results where lanes have room for it."""
        return self.thumb1 or self.riscv

    def together(self, group: int) -> int:
        """Channels whose weights the lanes form interleaves, by the length of a group."""
        if self.riscv:
            return 4 if group == 2 else 2
        return 8 if self.thumb1 else 1


V6M = Core("armv6m", 240, 20)
V7M = Core("armv7m", 400, 20)
RV32 = Core("rv32", 1, 20)
CORES = {core.name: core for core in (V6M, V7M, RV32)}
