# SPDX-License-Identifier: Apache-2.0
"""Which input bytes make the column of a convolution window, in which order.

The order of the weights of one output is free. A column therefore takes each run of adjacent input
bytes (a kernel row, or a tap where the kernel is dilated or grouped) in whole words first, and the
one to three bytes left over of every run come last, together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...hw_models.dsp_column import Column
from ..ops.conv2d import Conv2d
from ..requant import Int64


@dataclass(frozen=True)
class Runs:
    """Adjacent input bytes of one window.

    Attributes:
        count: runs of a window.
        per_row: runs of a kernel row: 1, or the kernel's width where taps are apart.
        taps: kernel taps of a run.
        size: bytes of a run.
        over: whether the last word of a run reaches past its end (into bytes of weight 0).
    """

    count: int
    per_row: int
    taps: int
    size: int
    over: bool = False

    @property
    def whole(self) -> int:
        """Words taken from every run where it lies."""
        return -(-self.size // 4) if self.over else self.size // 4

    @property
    def left(self) -> int:
        """Bytes of a run after those words."""
        return max(0, self.size - 4 * self.whole)

    @property
    def last_mask(self) -> int:
        """Mask that keeps the bytes of a run in its last word."""
        return (1 << 8 * (self.size % 4)) - 1

    @property
    def tail_blocks(self) -> int:
        """Words of all bytes left over."""
        return (self.count * self.left + 3) // 4

    @property
    def blocks(self) -> int:
        """Words of a whole column of bytes."""
        return self.count * self.whole + self.tail_blocks

    def order(self, codes: Int64) -> Int64:
        """Codes ``[outputs, K]`` in the order of the column, filled with zero codes."""
        runs = codes.reshape(len(codes), self.count, self.size)
        taken = min(self.size, 4 * self.whole)
        whole = np.zeros((len(codes), self.count, 4 * self.whole), np.int64)
        whole[:, :, :taken] = runs[:, :, :taken]
        left = runs[:, :, taken:].reshape(len(codes), -1)
        fill = np.zeros((len(codes), 4 * self.tail_blocks - left.shape[1]), np.int64)
        return np.concatenate([whole.reshape(len(codes), -1), left, fill], axis=1)

    def window(self, step: int) -> tuple[tuple[tuple[int, ...], bool], ...]:
        """Byte offsets of every block, and whether they form a word; runs are ``step`` apart."""
        blocks: list[tuple[tuple[int, ...], bool]] = []
        left: list[int] = []
        for run in range(self.count):
            first = run * step
            for word in range(self.whole):
                bytes_ = range(4 * word, min(4 * word + 4, self.size))
                blocks.append((tuple(first + k for k in bytes_), True))
            left += range(first + 4 * self.whole, first + self.size)
        blocks += [(tuple(left[k : k + 4]), False) for k in range(0, len(left), 4)]
        return tuple(blocks)


def runs_of(op: Conv2d, column: Column) -> Runs:
    """The runs of the ``column`` of a convolution's window."""
    height, width = op.window.kernel
    per_row = column.runs // height
    return Runs(column.runs, per_row, width // per_row, column.run, column.over)
