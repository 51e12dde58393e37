# SPDX-License-Identifier: Apache-2.0
"""Decodes each encoding once: emitted code repeats itself, and a disassembler is slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cycles import Instruction


def remembered(
    known: dict[bytes, list[Instruction]],
    code: bytes,
    address: int,
    unit: Callable[[bytes, int], int],
    decode: Callable[[bytes, int], list[Instruction]],
) -> list[Instruction]:
    """Decode piece by piece, each encoding once: code repeats itself a hundredfold.

    Args:
        known: pieces decoded so far, filled here.
        code: straight code.
        address: its first address.
        unit: bytes of the piece at an offset, one instruction and what depends on it.
        decode: decodes one piece.
    """
    found: list[Instruction] = []
    at = 0
    while at < len(code):
        piece = code[at : at + unit(code, at)]
        items = known.get(piece)
        if items is None:
            items = decode(piece, address + at)
            # The text of a branch holds its target, which depends on the address.
            if not any(item.is_branch for item in items):
                known[piece] = items
            found += items
        else:
            start = address + at - items[0].address
            found += [replace(item, address=item.address + start) for item in items]
        at += len(piece)
    return found


def thumb_unit(code: bytes, at: int) -> int:
    """Bytes of the Thumb instruction at an offset; an IT instruction brings those it governs."""
    half = int.from_bytes(code[at : at + 2], "little")
    if half & 0xFF00 != 0xBF00 or not half & 15:
        return 4 if half >> 11 >= 0b11101 else 2
    length = 2
    governed = 4 - ((half & 15) & -(half & 15)).bit_length() + 1
    for _ in range(governed):
        half = int.from_bytes(code[at + length : at + length + 2], "little")
        length += 4 if half >> 11 >= 0b11101 else 2
    return length


def riscv_unit(code: bytes, at: int) -> int:
    """Bytes of the RISC-V instruction at an offset."""
    return 4 if code[at] & 3 == 3 else 2
