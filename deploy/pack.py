# SPDX-License-Identifier: Apache-2.0
"""Bit packing of weight codes: eight codes of b bits fill exactly b bytes, first code lowest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..hw_models.work import GROUP, padded


def pack_rows(codes: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Pack unsigned codes ``[rows, length]`` into bytes ``[rows, padded(length)/8*bits]``.

    Rows are padded with code 0 to whole groups of eight. Code k of a group occupies bits
    k*b..k*b+b-1 of the group's little-endian b-byte number.
    """
    rows, length = codes.shape
    wide = np.zeros((rows, padded(length)), np.uint8)
    wide[:, :length] = codes
    planes = (wide[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1
    packed: NDArray[np.uint8] = np.packbits(planes.reshape(rows, -1), axis=1, bitorder="little")
    return packed


def unpack_rows(data: NDArray[np.uint8], bits: int, length: int) -> NDArray[np.uint8]:
    """Inverse of `pack_rows`: codes ``[rows, length]``."""
    rows = data.shape[0]
    planes = np.unpackbits(data, axis=1, bitorder="little").reshape(rows, -1, bits)
    weighted = planes << np.arange(bits, dtype=np.uint8)
    codes: NDArray[np.uint8] = weighted.sum(axis=2, dtype=np.uint8)
    return codes[:, :length]


def code_expressions(bits: int, source: str) -> list[str]:
    """C expressions of the eight codes of one group, read from the byte pointer ``source``.

    Every expression has type ``uint32_t`` or ``unsigned``-converted ``int`` below 256.
    """
    mask = f"{(1 << bits) - 1}u"
    found = []
    for k in range(GROUP):
        byte, shift = divmod(k * bits, 8)
        low = f"(uint32_t){source}[{byte}]"
        if shift:
            low = f"({low} >> {shift}u)"
        if shift + bits > 8:
            found.append(f"(({low} | ((uint32_t){source}[{byte + 1}] << {8 - shift}u)) & {mask})")
        elif shift + bits == 8:
            found.append(low if shift else f"({low})")
        else:
            found.append(f"({low} & {mask})")
    return found
