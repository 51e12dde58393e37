# SPDX-License-Identifier: Apache-2.0
"""Integer types of tensors: range, storage and names in NumPy and C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

IntArray = NDArray[np.integer]
"""Any integer array; the bit-width it must respect is stated by an `IntType`."""


@dataclass(frozen=True, order=True)
class IntType:
    """An integer of ``bits`` bits, two's complement when ``signed``.

    Attributes:
        bits: 1..32. Activations use 1..8, accumulators 32.
        signed: whether the range is -2^(bits-1)..2^(bits-1)-1 or 0..2^bits-1.
    """

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 32:
            raise UsageError(f"integer type: {self.bits} bits found; 1 to 32 are supported")

    @property
    def lo(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def container_bits(self) -> int:
        """Width of the smallest C integer that holds it: 8, 16 or 32."""
        return 8 if self.bits <= 8 else 16 if self.bits <= 16 else 32

    @property
    def bytes_(self) -> int:
        """Bytes of one element in memory."""
        return self.container_bits // 8

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """NumPy type of the container."""
        return np.dtype(f"{'int' if self.signed else 'uint'}{self.container_bits}")

    @property
    def c_name(self) -> str:
        """C99 type of the container, for example ``uint8_t``."""
        return f"{'int' if self.signed else 'uint'}{self.container_bits}_t"

    def contains(self, values: IntArray) -> bool:
        """Whether every value lies in the range."""
        return values.size == 0 or (int(values.min()) >= self.lo and int(values.max()) <= self.hi)

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"

    @classmethod
    def parse(cls, text: str) -> IntType:
        """Read the short form written by ``str``: ``u4``, ``s8``."""
        if len(text) >= 2 and text[0] in "su" and text[1:].isdigit():
            return cls(int(text[1:]), text[0] == "s")
        raise UsageError(f"integer type: {text!r} found; write for example u4 or s8")
