# SPDX-License-Identifier: Apache-2.0
"""Shapes of the MVE kernels' loops: the one place that decides them, for emitting and for counting.

Convolutions and fully connected layers take 16 products at a step. Depthwise outputs are taken
four at a time along a line, a row or a column of the output; where the taps of two or four
neighbours fit 16 bytes, one gather serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

LANES = 16
OUTPUTS = 4
LARGEST_OFFSET = 255
"""A byte gather reaches so many bytes past its base register."""
LARGEST_IMMEDIATE = 127
"""A store of bytes reaches so many bytes past its base register."""
LARGEST_STEP = 4095
"""An addition of an immediate value reaches so far."""
MOST_PATCHES = 10
"""Patches of one output at most: they are straight code."""
GROUP_COST, WIDE_COST, LINE_COST = 10, 14, 6
"""Instructions of four depthwise outputs besides gathers and products, of eight, and of a line."""
LARGEST_OUT = 65535
"""Eight outputs are stored, and pixels gathered, by offsets of half-words."""
STRAIGHT, LOOPED = 9, 8
"""Column steps without a loop at most, and those of one round of a loop."""
SHORT = LANES * STRAIGHT
"""Bytes of a column in tiles without a loop at most: the second column lies so far on."""
Pair = tuple[int, int]


def steps_of(inputs: int) -> int:
    """Vectors of a column."""
    return -(-inputs // LANES)


def rounds_of(steps: int) -> int:
    """Rounds of the loop over a column; the first steps are straight code."""
    return 0 if steps <= STRAIGHT else (steps - 1) // LOOPED


def is_long(steps: int) -> bool:
    """Whether a convolution's column takes the tile with a loop."""
    return steps > STRAIGHT


def entry_steps(steps: int) -> int:
    """Steps of a convolution's column between the first and the loop, or all after the first."""
    return (steps - 1) % LOOPED if is_long(steps) else steps - 1


@dataclass(frozen=True)
class Lines:
    """Outputs in lines of lanes.

    Attributes:
        axis: 1 for lines along rows, 0 along columns.
        lanes: outputs of a line.
        count: lines.
        lane_step: plane bytes from one output of a line to the next.
        line_step: plane bytes from one line to the next.
        out_lane: output elements from one output to the next.
        out_line: output elements from one line to the next.
    """

    axis: int
    lanes: int
    count: int
    lane_step: int
    line_step: int
    out_lane: int
    out_line: int


@dataclass(frozen=True)
class Taps:
    """What is gathered for an output.

    Attributes:
        lines: how outputs follow each other.
        offsets: plane offsets of the taps of a patch, 16 at most.
        steps: plane bytes to go on after each patch.
        share: outputs that one gather serves.
        move: lanes by which the weights of the next output are moved.
        rows: kernel rows of a patch.
        wide: whether eight outputs are narrowed and stored together, not four.
    """

    lines: Lines
    offsets: tuple[int, ...]
    steps: tuple[int, ...]
    share: int
    move: int
    rows: int
    wide: bool = False

    @property
    def outputs(self) -> int:
        """Outputs of a group."""
        return 2 * OUTPUTS if self.wide else OUTPUTS

    @property
    def groups(self) -> int:
        """Groups of a line; the last may overlap the one before."""
        return -(-self.lines.lanes // self.outputs)

    @property
    def cost(self) -> int:
        """Estimated instructions of a channel."""
        count = len(self.steps)
        if self.wide:
            group = WIDE_COST + self.outputs + self.outputs // self.share
            return self.lines.count * (self.groups * group + LINE_COST)
        products = (OUTPUTS + OUTPUTS // self.share) * count + (count if count > 1 else 0)
        return self.lines.count * (self.groups * (GROUP_COST + products) + LINE_COST)


@cache
def taps_of(
    out_shape: tuple[int, int, int], width: int, kernel: Pair, stride: Pair, dilation: Pair,
    passes: int,
) -> Taps | None:  # fmt: skip
    """The cheapest way to gather a depthwise window, None where it is too wide for a patch.

    Args:
        out_shape: (H, W, C) of the output.
        width: bytes of a row of the padded plane.
        kernel: (height, width), as are stride and dilation.
        stride: of the window.
        dilation: of the window.
        passes: sums of products that make one output: 1, or more for weights wider than a byte.
    """
    rows, columns, channels = out_shape
    down, right = stride[0] * width, stride[1]
    found: list[Taps | None] = []
    for lines in (
        Lines(1, columns, rows, right, down, channels, columns * channels),
        Lines(0, rows, columns, down, right, columns * channels, channels),
    ):
        found.append(_shared(lines, width, kernel, stride, dilation) if passes == 1 else None)
        found.append(_by_rows(lines, width, kernel, dilation, passes))
        shared = found[-2]
        if shared is not None and shared.share == 2 and _fits_wide(lines):
            found.append(replace(shared, wide=True))
    fitting = [taps for taps in found if taps is not None and len(taps.steps) <= MOST_PATCHES]
    return min(fitting, key=lambda taps: taps.cost) if fitting else None


def _fits_wide(lines: Lines) -> bool:
    return lines.lanes >= 2 * OUTPUTS and (2 * OUTPUTS - 1) * lines.out_lane <= LARGEST_OUT


def _shared(
    lines: Lines, width: int, kernel: Pair, stride: Pair, dilation: Pair
) -> Taps | None:
    along, across = lines.axis, 1 - lines.axis
    if dilation[along] != 1:
        return None
    steps = (dilation[0] * width, dilation[1])
    for share in (4, 2):
        extent = kernel[along] + (share - 1) * stride[along]
        reach = (kernel[across] - 1) * steps[across] + (extent - 1) * steps[along]
        far = reach + (OUTPUTS - share) * lines.lane_step > LARGEST_OFFSET
        if kernel[across] * extent > LANES or far:
            continue
        offsets = tuple(
            o * steps[across] + k * steps[along]
            for o in range(kernel[across])
            for k in range(extent)
        )
        return Taps(lines, offsets, (0,), share, stride[along], 0)
    return None


def _by_rows(
    lines: Lines, width: int, kernel: Pair, dilation: Pair, passes: int
) -> Taps | None:
    down, right = dilation[0] * width, dilation[1]
    rows = 0
    for count in range(1, kernel[0] + 1):
        reach = (count - 1) * down + (kernel[1] - 1) * right + (OUTPUTS - 1) * lines.lane_step
        if reach <= LARGEST_OFFSET and count * kernel[1] <= LANES:
            rows = count
    if rows == 0 or rows * down > LARGEST_STEP:
        return None
    steps = [*[0] * (passes - 1), rows * down] * -(-kernel[0] // rows)
    steps[-1] = 0
    offsets = tuple(r * down + k * right for r in range(rows) for k in range(kernel[1]))
    return Taps(lines, offsets, tuple(steps), 1, 0, rows)


BLOCK = 2
"""Rows and columns of outputs that one gather of words serves."""


def in_blocks(out_shape: tuple[int, int, int], kernel: Pair, stride: Pair, dilation: Pair) -> bool:
    """Whether whole blocks of 2x2 outputs cover a 3x3 kernel of stride 1."""
    plain = (kernel, stride, dilation) == ((3, 3), (1, 1), (1, 1))
    return plain and out_shape[0] % BLOCK == 0 and out_shape[1] % BLOCK == 0


GATHERED, STRAIGHT_GATHERS, DOUBLE = 8, 4, 32
"""Pixels of a gather; gathers of a row without a loop at most; longest row whose even and odd
pixels are gathered apart, to be stored together."""


@dataclass(frozen=True)
class Gather:
    """How a channel comes into its plane.

    Attributes:
        rows: rows, all in one where no padding is between them.
        width: pixels of a row.
        double: pairs of gathers of a row, 0 where it has no whole ones.
        straight: gathers of a row without a loop, 0 for a loop.
        rest: whether the last one is partial.
        twice: whether two rows are gathered in a pass.
    """

    rows: int
    width: int
    double: int
    straight: int
    rest: bool
    twice: bool


def gather_of(height: int, width: int, channels: int, gap: int) -> Gather:
    """The gather of an image with so many bytes of padding between its rows."""
    if gap == 0 and width % GATHERED != 0:
        height, width = 1, height * width
    count = -(-width // GATHERED)
    double = width // LANES if width % LANES == 0 and width <= DOUBLE else 0
    return Gather(
        height,
        width,
        double,
        count if count <= STRAIGHT_GATHERS else 0,
        width % GATHERED != 0,
        # four vectors of offsets hold two rows, and one store reaches the second
        double == 1
        and height % 2 == 0
        and 2 * width * channels <= LARGEST_OUT
        and width + gap <= LARGEST_IMMEDIATE,
    )
