# SPDX-License-Identifier: Apache-2.0
"""Decoder for Armv8.1-M with MVE: lengths and groups, which is what counts need.

Capstone 5 does not know MVE, so vector and low-overhead-loop instructions are told by their bits
(Arm DDI 0553, sections C2.3 and C2.4); everything else goes to the Thumb decoder one by one.
"""

from __future__ import annotations

from .cycles import Decoder, Instruction
from .errors import ToolError

VECTOR_MEMORY, VECTOR_GATHER, VECTOR_INTEGER, VECTOR_MULTIPLY, VECTOR_MOVE = (
    "vector_memory", "vector_gather", "vector_integer", "vector_multiply", "vector_move",
)  # fmt: skip
LOOP = "loop"
_FIRST_WIDE = 0xE800


class VectorDecoder:
    """Decodes Thumb code that may hold MVE instructions."""

    def __init__(self) -> None:
        """Open the decoder of the scalar instructions."""
        self._scalar = Decoder()

    def decode(self, code: bytes, address: int) -> list[Instruction]:
        """Instructions of ``code``; a piece that ends inside one raises `ToolError`."""
        found = []
        at = 0
        while at < len(code):
            first = int.from_bytes(code[at : at + 2], "little")
            size = 4 if first >= _FIRST_WIDE else 2
            if at + size > len(code):
                raise ToolError(
                    f"0x{address + at:08x}: a block ends inside an instruction; whole ones are"
                    " expected; build the image again"
                )
            second = int.from_bytes(code[at + 2 : at + 4], "little") if size == 4 else 0
            group = vector_group(first, second) if size == 4 else None
            if group is None:
                found += self._scalar.decode(code[at : at + size], address + at)
            else:
                found.append(_vector(address + at, group, first, second))
            at += size
        return found


def vector_group(first: int, second: int) -> str | None:
    """Group of a 32-bit instruction that Capstone 5 does not know, None for the others.

    Args:
        first: its first halfword.
        second: its second halfword.
    """
    top = first >> 8 & 0xEF
    if top in (0xEC, 0xED):
        if first & 0xFFA0 == 0xEC00:
            return VECTOR_MOVE
        return VECTOR_GATHER if top == 0xEC and not first & 0x20 else VECTOR_MEMORY
    if top in (0xEE, 0xEF):
        lane = top == 0xEE and second & 0x0F10 == 0x0B10
        status = first & 0xFFE0 == 0xEEE0 and second & 0x0F10 == 0x0A10
        if lane or status:
            return VECTOR_MOVE
        return VECTOR_MULTIPLY if _multiplies(first, second) else VECTOR_INTEGER
    if first & 0xFF80 == 0xF000 and second & 0xD000 == 0xC000:
        return LOOP
    if first & 0xFF80 == 0xF000 and second & 0xF000 == 0xE000:
        return LOOP  # DLS, VCTP: a 32-bit branch has another bit 12
    if first & 0xFFF0 == 0xEA50 and second & 0x9000 == 0x8000:
        return "alu"  # CSEL and its relatives
    return None


def _multiplies(first: int, second: int) -> bool:
    """Whether an MVE data instruction uses the multiplier: VMLADAV, VMLA, VMUL, VRMULH and such."""
    if first & 0xEF80 == 0xEE80 and second & 0x0F00 in (0x0E00, 0x0F00):
        # VMLADAV and VMLALDAV share their space with VADDV, which has bits 17 and 18 of the size
        return first & 0xEFF3 != 0xEEF1 or second & 0x0021 == 0x0021
    if first & 0xEF80 == 0xEE00 and second & 0x0F00 == 0x0E00:
        return True  # VRMULH, VMULH, VMLA, VMLAS, VMUL by scalar, VMULL
    return first & 0xEF80 == 0xEF00 and second & 0x0F50 == 0x0950  # VMUL by vector


def _vector(address: int, group: str, first: int, second: int) -> Instruction:
    none: frozenset[int] = frozenset()
    return Instruction(
        # the end of a low-overhead loop costs the same both ways: no branch of the cycle model
        address=address,
        size=4,
        group=group,
        text=f"{group} {first:04x} {second:04x}",
        address_regs=none,
        loaded=none,
        reads=none,
        writes=none,
        # elements of a gather or scatter
        transfers=16 >> (second >> 7 & 3) if group == VECTOR_GATHER else 0,
        conditional=False,
        register_offset=False,
    )
