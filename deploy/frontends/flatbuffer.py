# SPDX-License-Identifier: Apache-2.0
"""Reads FlatBuffers tables by field number; every offset is checked, for files may be hostile.

Format: the FlatBuffers internals document, https://flatbuffers.dev/internals/. A table starts with
the distance to its list of field offsets; field ``i`` is at ``list[4 + 2*i]`` from the table's
start, 0 meaning absent.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


class FlatBufferError(ValueError):
    """Bytes that are no consistent FlatBuffer."""


class Table:
    """One table inside a buffer.

    Attributes:
        data: the whole buffer.
        start: position of the table.
    """

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = start
        self._fields = start - self._read("<i", start)
        self._size = self._read("<H", self._fields)

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The root table of a buffer."""
        found = struct.unpack_from("<I", data, 0)[0] if len(data) >= 8 else len(data)
        return cls(data, found)

    def _read(self, form: str, position: int) -> int:
        if not 0 <= position <= len(self.data) - struct.calcsize(form):
            raise FlatBufferError(f"an offset to byte {position} of {len(self.data)}")
        value: int = struct.unpack_from(form, self.data, position)[0]
        return value

    def _position(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._size:
            return None
        offset = self._read("<H", self._fields + slot)
        return self.start + offset if offset else None

    def integer(self, field: int, form: str = "i", default: int = 0) -> int:
        """A number; ``form`` is its struct letter: b, B, h, i, I, q, Q."""
        position = self._position(field)
        return default if position is None else self._read(f"<{form}", position)

    def real(self, field: int, default: float = 0.0) -> float:
        """A float32."""
        position = self._position(field)
        return default if position is None else float(self._read("<f", position))

    def table(self, field: int) -> Table | None:
        """A sub-table (or a union's value)."""
        position = self._position(field)
        if position is None:
            return None
        return Table(self.data, position + self._read("<I", position))

    def _vector(self, field: int) -> tuple[int, int] | None:
        """(position of the first element, number of elements)."""
        position = self._position(field)
        if position is None:
            return None
        start = position + self._read("<I", position)
        return start + 4, self._read("<I", start)

    def numbers(self, field: int, dtype: str) -> NDArray[np.generic]:
        """A vector of numbers; empty where it is absent."""
        found = self._vector(field)
        if found is None:
            return np.zeros(0, dtype)
        start, count = found
        if start + count * np.dtype(dtype).itemsize > len(self.data):
            raise FlatBufferError(f"a vector of {count} elements beyond the end")
        return np.frombuffer(self.data, dtype, count, start)

    def text(self, field: int) -> str:
        """A string, unprintable characters replaced."""
        raw = self.numbers(field, "u1").tobytes().decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "?" for c in raw)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        found = self._vector(field)
        if found is None:
            return []
        start, count = found
        if start + 4 * count > len(self.data):
            raise FlatBufferError(f"a vector of {count} tables beyond the end")
        positions = [start + 4 * i for i in range(count)]
        return [Table(self.data, p + self._read("<I", p)) for p in positions]
