# SPDX-License-Identifier: Apache-2.0
"""Planes of the depthwise kernels without DSP: their geometry and the instructions they take.

Per channel the image is gathered into a plane of words that hold an image row (low lane) and the
row half an output image further down (high lane), so that every tap serves two outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import ceil

from .thumb_core import Core
from .thumb_forms import LANE_MAX, LANE_MIN, Grid

TAPS_MAX = 49
REACH = 4092
"""Bytes that an added immediate of ARMv7-M covers."""
NEAR = 124
"""Bytes that a load of ARMv6-M covers."""
HIGH = ("r11", "r12", "lr")
"""Registers that hold weights on ARMv6-M; the others stay on the stack."""
BOTH, LOW, UPPER = 0, 1, 2
"""Which lanes of a plane's row lie inside the image."""
STRIDE_MAX = 255
"""Bytes between pixels that a load of ARMv7-M may step over."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Plane:
    """Geometry of a plane. An image one pixel wide is a single line of it (``flat``).

    Attributes:
        flat: whether image rows follow one another on one line.
        kernel: taps (vertical, horizontal), along the plane's lines.
        dilation: of the taps.
        columns: outputs of a lane on one line of windows.
        rows: lines of windows.
        width: words of a line.
        height: lines.
        step_x: words from a window to the next.
        step_y: words from a line of windows to the next.
        apart: image rows between the lanes.
        high_pixels: output pixels between the lanes.
        left: words before the image on a line.
        filled: words of a line that come from the image (of a part, where flat).
        segments: (lanes inside, image row, plane row, rows) of the parts to fill.
    """

    flat: bool
    kernel: Pair
    dilation: Pair
    columns: int
    rows: int
    width: int
    height: int
    step_x: int
    step_y: int
    apart: int
    high_pixels: int
    left: int
    filled: int
    segments: tuple[tuple[int, int, int, int], ...]

    @property
    def taps(self) -> int:
        """Taps of a window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def words(self) -> int:
        """Words of the plane."""
        return self.width * self.height

    @property
    def read(self) -> int:
        """Words that loads move the plane's pointer over in a row of taps."""
        return self.kernel[1] if self.dilation[1] == 1 else 0

    @property
    def tap_row(self) -> int:
        """Words from a row of taps to the next."""
        return self.width * self.dilation[0]

    @property
    def back(self) -> int:
        """Bytes from the last tap of a window to the next window."""
        return 4 * (self.step_x - (self.kernel[0] - 1) * self.tap_row - self.read)

    @property
    def at_step(self) -> int:
        """Words from a plane row of a segment to the next."""
        return 1 if self.flat else self.width

    @property
    def both(self) -> int:
        """Words of one line that a call fills where both lanes lie inside."""
        inside = [count for kind, _, _, count in self.segments if kind == BOTH]
        return (inside[0] if inside else 0) if self.flat else self.filled

    @property
    def inside(self) -> int:
        """Lines that have both lanes inside the image."""
        return sum(count for kind, _, _, count in self.segments if kind == BOTH)

    def fits(self, core: Core) -> bool:
        """Whether the kernels' immediates reach."""
        far = 4 * max(self.step_y, self.tap_row * self.kernel[0], self.columns * self.step_x)
        near = 4 * self.dilation[1] * (self.kernel[1] - 1)
        return (
            self.taps <= TAPS_MAX and self.filled > 0 and (core.thumb1 or far <= REACH)
            and (self.dilation[1] == 1 or near <= NEAR)
        )  # fmt: skip

    def kernel_cost(self, core: Core, group: int, late: bool) -> float:
        """Instructions of one channel's outputs; see the kernel's template and `moved_late`."""
        groups = ceil(self.taps / group)
        window, channel = core.costs.centring(self, groups) if late else (0, 0)
        line = self.columns * (core.costs.window(self, groups) + window) + self.row_cost(core)
        return self.rows * line + channel

    def row_cost(self, core: Core) -> float:
        """Instructions of a kernel at the end of a line of windows."""
        return 9 if core.thumb1 else 6

    def fill_cost(self, core: Core, centre: int) -> float:
        """Instructions of the assembly that fills the words of one channel."""
        return core.costs.fill(self, centre != 0)

    def paired(self, core: Core, channels: int, low: int, how: tuple[int, int]) -> bool:
        """Whether two channels are gathered together, each into a plane of its own.

        That halves the loads of a gather for twice the memory; it is worth it where windows move
        by more than one pixel, for then few outputs share what a gather costs.

        Args:
            core: the family.
            channels: of the input; an odd one would be left over.
            low: lowest activation; bytes are taken apart as what lies above it.
            how: group and centre, see `taps_group`.
        """
        if not self.pairs(core, channels):
            return False
        if not self._one_constant(core, low, how[1]):
            return True
        alone = core.costs.fill(self, how[1] != 0) + core.costs.border(self)
        together = core.costs.pair_fill(self, moved=False, low=low) / 2
        return together + self._centring_of_sums(core, how[0]) < alone

    def _one_constant(self, core: Core, low: int, centre: int) -> bool:
        """Whether ARMv6-M, which has a register for sign bits or a centre, would need both."""
        return core.thumb1 and low < 0 and centre != low

    def _centring_of_sums(self, core: Core, group: int) -> float:
        """Instructions that one channel's outputs take more where their sums are centred."""
        window, channel = core.costs.centring(self, ceil(self.taps / group))
        return self.rows * self.columns * window + channel

    def pairs(self, core: Core, channels: int) -> bool:
        """Whether so many channels may be gathered two at a time."""
        strided = self.step_x > 1 or self.step_y > self.width
        if self.flat or not strided or channels % 2:
            return False
        return core.thumb1 or (channels <= STRIDE_MAX and self.filled > 1)

    def stored_centre(
        self, core: Core, channels: int, low: int, how: tuple[int, int]
    ) -> int:
        """What activations in the planes are less, of the centre that the sums are less.

        Args:
            core: the family.
            channels: of the input.
            low: lowest activation.
            how: group and centre, see `taps_group`.
        """
        group, centre = how
        if centre == low or not self.paired(core, channels, low, how):
            return centre
        if self._one_constant(core, low, centre):
            return low
        late = self._centring_of_sums(core, group)
        return low if late < self._centring_of_words(core, low) else centre

    def _centring_of_words(self, core: Core, low: int) -> float:
        """Instructions that one channel's plane takes more where its words are centred."""
        moved, plain = (
            core.costs.pair_fill(self, moved=moved, low=low) for moved in (True, False)
        )
        return (moved - plain) / 2

    def taps_group(self, core: Core, grid: Grid, channels: int) -> tuple[int, int]:
        """(taps summed before the lanes are split, centre of the activations), from the widths.

        Args:
            core: the family.
            grid: weights and activations.
            channels: of the input.
        """
        if self.pairs(core, channels):
            found = taps_group(grid, self.taps, grid.act_low)
            if not self._one_constant(core, grid.act_low, found[1]):
                return found
        return taps_group(grid, self.taps)

    def pair_fill_cost(self, core: Core, stored: int, low: int) -> float:
        """Instructions that fill the planes of two channels, calls and borders included.

        Args:
            core: the family.
            stored: what activations in the planes are less.
            low: lowest activation.
        """
        return core.costs.pair_fill(self, moved=stored != low, low=low)

    @property
    def parts(self) -> list[tuple[bool, int]]:
        """(whether both lanes lie inside the image, lines) of every part."""
        return [(kind == BOTH, count) for kind, *_, count in self.segments]

    def edge_words(self) -> Pair:
        """(rows, words) of a channel that have one lane inside the image."""
        rows = sum(count for kind, _, _, count in self.segments if kind != BOTH)
        return rows, rows * (1 if self.flat else self.filled)


@cache
def plane_of(
    in_hw: Pair, out_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair,
    pad: tuple[int, int, int, int],
) -> Plane:  # fmt: skip
    """The plane of a layer; sizes are (vertical, horizontal), pad (top, left, bottom, right)."""
    rows = (out_hw[0] + 1) // 2
    apart = (out_hw[0] - rows) * stride[0]
    width = (out_hw[1] - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    height = (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    segments, at = [], 0

    def lanes(line: int) -> int | None:
        low, high = line - pad[0], line - pad[0] + apart
        inside = (0 <= low < in_hw[0], 0 <= high < in_hw[0])
        return {(True, True): BOTH, (True, False): LOW, (False, True): UPPER}.get(inside)

    for kind, lines in groupby(range(height), lanes):
        count = len(list(lines))
        if kind is not None:
            segments.append((kind, at - pad[0] + (apart if kind == UPPER else 0), at, count))
        at += count
    flat = in_hw[1] == width == kernel[1] == 1 and not pad[1]
    return Plane(
        flat=flat,
        kernel=(1, kernel[0]) if flat else kernel,
        dilation=(1, dilation[0]) if flat else dilation,
        columns=rows if flat else out_hw[1],
        rows=1 if flat else rows,
        width=height if flat else width,
        height=1 if flat else height,
        step_x=stride[0] if flat else stride[1],
        step_y=0 if flat else width * stride[0],
        apart=apart,
        high_pixels=(out_hw[0] - rows) * out_hw[1],
        left=pad[1],
        filled=1 if flat else min(in_hw[1], width - pad[1]),
        segments=tuple(segments),
    )


def taps_group(grid: Grid, taps: int, free: int = 0) -> tuple[int, int]:
    """(taps summed before the lanes are split, centre of the activations), from the widths.

    free: the centre that costs nothing.
    """
    found = []
    for centre in {free, 0, *grid.centres}:
        products = [w * (x - centre) for w in grid.ends for x in grid.act_ends]
        low, high = min(products), max(products)
        group = taps
        while group * low < LANE_MIN or group * high > LANE_MAX:
            group -= 1
        if group:
            found.append((ceil(taps / group), centre != free, group, centre))
    best = min(found)
    return best[2], best[3]
