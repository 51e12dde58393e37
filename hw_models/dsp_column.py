# SPDX-License-Identifier: Apache-2.0
"""What one output pixel of a convolution reads on cores with the DSP extension.

The planner builds columns by these rules and the cost count follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

FEWEST_BLOCKS = 3
"""Runs shorter than so many words are widened in place, without a call."""
OVER_LIMIT = 1.06
"""Runs are read in whole words, past their end, where that makes no column longer than this."""
WINDOW_BLOCKS = 16
"""Windows of so many words at most are widened by straight code."""


@dataclass(frozen=True)
class Column:
    """What one output pixel reads.

    Attributes:
        runs: adjacent pieces of the input.
        run: bytes of one piece.
        whole: words taken from every run.
        left: bytes of a run after those words.
        over: whether the last word of a run reaches past its end.
    """

    runs: int
    run: int
    whole: int
    left: int
    over: bool

    @property
    def tail_blocks(self) -> int:
        """Words of all bytes left over."""
        return ceil(self.runs * self.left / 4)

    @property
    def blocks(self) -> int:
        """Words of the whole column."""
        return self.runs * self.whole + self.tail_blocks

    @property
    def straight(self) -> bool:
        """Whether whole windows are few enough words for straight code."""
        long_runs = self.left == 0 and self.whole >= FEWEST_BLOCKS
        return self.blocks <= WINDOW_BLOCKS and self.runs >= 2 and not long_runs


def column_of(
    kernel: tuple[int, int], dilation: tuple[int, int], groups: int, channels: int
) -> Column:
    """The column of a window over ``channels`` channels of every tap.

    Whole words of every run first; the bytes left over of all runs last, together. Runs are read
    past their end, in whole words, where that costs next to nothing.
    """
    apart = kernel[1] > 1 and (dilation[1] > 1 or groups > 1)
    runs, run = (kernel[0] * kernel[1], channels) if apart else (kernel[0], kernel[1] * channels)
    column = Column(runs, run, run // 4, run % 4, False)
    over = Column(runs, run, ceil(run / 4), 0, True)
    worth = not apart and kernel != (1, 1) and column.left
    return over if worth and over.blocks <= OVER_LIMIT * column.blocks else column
