# SPDX-License-Identifier: Apache-2.0
"""The input ring of a windowed module: which pixels a window needs, and when they are free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

from ..ops.base import Window


@dataclass(frozen=True)
class Ring:
    """A window over a stream of pixels in row order.

    A ring keeps the newest pixels of the endless stream (frame after frame). Rows are released
    when the last window of an output row that reads them is done.

    Attributes:
        height: rows of the input.
        width: columns of the input.
        window: its geometry.
        ahead: doublings of the least capacity.
    """

    height: int
    width: int
    window: Window
    ahead: int = 0

    @classmethod
    @cache
    def over(cls, height: int, width: int, window: Window, ahead: int = 0) -> Ring:
        """The ring of a window; a 1x1 window sees the image as one long column, one pixel a row."""
        plain = Window((1, 1), (1, 1), window.dilation)
        if window == plain:
            return cls(height * width, 1, plain, ahead)
        return cls(height, width, window, ahead)

    @property
    def pixels(self) -> int:
        """Input pixels per frame."""
        return self.height * self.width

    @cached_property
    def out_hw(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return self.window.out_hw((self.height, self.width))

    @property
    def padded(self) -> bool:
        """Whether any window reads outside the image."""
        return any(self.window.pad)

    @cached_property
    def need_rows(self) -> list[int]:
        """Per output row, pixel index of the start of its last input row."""
        return [row * self.width for row in _last(self, 0)]

    @cached_property
    def need_columns(self) -> list[int]:
        """Per output column, its last input column."""
        return _last(self, 1)

    @cached_property
    def first_rows(self) -> list[int]:
        """Per output row, pixel index of the start of its first input row; then the frame's end."""
        stride, top = self.window.stride[0], self.window.pad[0]
        starts = [
            min(max(0, row * stride - top), self.height) * self.width
            for row in range(self.out_hw[0])
        ]
        return [*starts, self.pixels]

    @cached_property
    def span(self) -> int:
        """Pixels that must be in the ring together, at least."""
        last = self.need_columns[-1]
        return max(
            need + last + 1 - first
            for need, first in zip(self.need_rows, self.first_rows[:-1], strict=True)
        )

    @cached_property
    def capacity(self) -> int:
        """Pixels in the ring: what a row of windows needs, and room for what the next one adds.

        A power of two, so that addresses wrap by themselves.
        """
        starts = self.first_rows
        ahead = max(
            [b - a for a, b in zip(self.need_rows, self.need_rows[1:], strict=False)]
            + [self.need_rows[0] + self.need_columns[0] + 1 + starts[-2] - self.need_rows[-1]]
        )
        return 1 << self.ahead + max(1, (self.span + max(1, ahead) - 1).bit_length())

    @property
    def spare(self) -> tuple[int, int]:
        """Fewest and most pixels that have come beyond those that a window needs.

        Fewest: just those that the window before needed, or none before the first one. Most: all
        that the ring takes until the row's first pixels are released.
        """
        needs = self.need()
        come = [0, *accumulate(needs, max)]
        return (
            min(a - b for a, b in zip(come, [*needs, self.pixels + needs[0]], strict=True)),
            max(
                first + self.capacity - need - self.need_columns[0] - 1
                for need, first in zip(self.need_rows, self.first_rows[:-1], strict=True)
            ),
        )

    @property
    def space(self) -> int:
        """Most pixels that the ring waits for: also those that are released before they come."""
        ends = [need + self.need_columns[-1] + 1 for need in self.need_rows]
        return self.capacity + max(
            0, *(free - end for free, end in zip(self.first_rows[1:], ends, strict=True))
        )

    def need(self) -> list[int]:
        """Per output pixel, how many input pixels of its frame must have arrived."""
        return [row + column + 1 for row in self.need_rows for column in self.need_columns]

    def release(self) -> list[int]:
        """Per output pixel, how many input pixels of its frame are free after it."""
        found = []
        for row in range(self.out_hw[0]):
            found += [self.first_rows[row]] * (self.out_hw[1] - 1) + [self.first_rows[row + 1]]
        return found


def _last(ring: Ring, axis: int) -> list[int]:
    window = ring.window
    size = (ring.height, ring.width)[axis]
    reach = window.dilation[axis] * (window.kernel[axis] - 1)
    return [
        min(max(0, out * window.stride[axis] - window.pad[axis] + reach), size - 1)
        for out in range(ring.out_hw[axis])
    ]
