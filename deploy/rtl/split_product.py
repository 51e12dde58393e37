# SPDX-License-Identifier: Apache-2.0
"""Products wider than one DSP slice: their parts are registered before they are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SLICE_BITS = 18
"""Signed operands of the DSP slices of the families that need registers between their sums."""


@dataclass(frozen=True)
class Part:
    """Some bits of an operand; only the highest part is signed."""

    start: int
    bits: int
    signed: bool


def split_product(acc_bits: int, m_bits: int, deep: bool) -> dict[str, Any]:
    """Literals of a product of more than one slice, whose parts are registered before their sum."""

    def parts(bits: int) -> list[Part]:
        found, start = [], 0
        while bits - start > SLICE_BITS:
            found.append(Part(start, SLICE_BITS - 1, False))
            start += SLICE_BITS - 1
        return [*found, Part(start, bits - start, True)]

    return {
        "acc_parts": parts(acc_bits), "m_parts": parts(m_bits), "slice_bits": SLICE_BITS,
        "split": deep and max(acc_bits, m_bits) > SLICE_BITS,
    }  # fmt: skip
