# SPDX-License-Identifier: Apache-2.0
"""How the kernel families count their work: tiles of output pixels by output channels.

Every family gathers columns of a few pixels, then runs all channels over them, so its cost follows
how many tiles there are, how long a column is and how many rows of the input a column takes; what
one of each costs depends on the widths and stands in the table. Storage is counted the same way,
because the density of packed weights depends on the form that the widths allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from math import ceil

import numpy as np

from .work import SPECIAL, Work, conv_is_direct, inside


@dataclass(frozen=True)
class Tiling:
    """Outputs that a family computes together.

    Attributes:
        pixels: output pixels of a tile.
        channels: output channels of a tile.
        rows: outputs of a fully connected layer computed together.
    """

    pixels: int
    channels: int
    rows: int


FAMILIES = {
    "armv6m": Tiling(4, 1, 1),
    "armv7m": Tiling(4, 1, 1),
}
MULTIPLIES = 20
"""Multiplies that the kernels without DSP sum up at most before they take the result out."""

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
Shape = tuple[int, int, int]


def _up(count: int, unit: int) -> int:
    return ceil(count / unit) * unit


def unit(family: str, weight_bits: int, act_bits: int) -> int:
    """Activations of a column word, to which a run of input bytes is filled up.

    Without DSP it is the number of products that one multiply can carry: ``span`` digits of
    32 / span bits hold the sums of all multiplies that one weight word takes part in.
    """
    for span in (4, 2):
        digit = 32 // span
        worst = span * ((1 << weight_bits) - 1) * ((1 << act_bits) - 1)
        together = min(((1 << digit) - 1) // worst, MULTIPLIES)
        if weight_bits <= digit and together >= digit // weight_bits:
            return span
    return 1


@cache
def edges(
    in_hw: Pair, out_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad, pixels: int
) -> tuple[int, int]:
    """(groups of ``pixels`` outputs that touch the border, kernel rows that cross its sides)."""
    starts = [np.arange(out_hw[a]) * stride[a] - pad[a] for a in (0, 1)]
    spans = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    within = [(s >= 0) & (s + span <= size)
              for s, span, size in zip(starts, spans, in_hw, strict=True)]  # fmt: skip
    flat = (within[0][:, None] & within[1][None, :]).reshape(-1)
    filled = np.pad(flat, (0, -len(flat) % pixels), constant_values=True)
    touching = int((~filled.reshape(-1, pixels).all(axis=1)).sum())
    rows = inside(in_hw[0], out_hw[0], kernel[0], stride[0], dilation[0], pad[0])
    return touching, rows * int((~within[1]).sum())


@dataclass(frozen=True)
class Column:
    """What one output pixel reads.

    Attributes:
        runs: adjacent pieces of the input.
        run: bytes of one piece.
        depth: activations of the column, filled up to whole words.
        left: bytes that are moved one by one.
        straight: whether the whole window is read by straight code.
    """

    runs: int
    run: int
    depth: int
    left: int
    straight: bool


def _conv2d(
    family: str, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair,
    pad: Pad, groups: int, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a convolution in a family; None for what it leaves to others."""
    tiling = FAMILIES[family]
    depth_in = in_shape[2] // groups
    if groups != 1:
        return None
    word = unit(family, weight_bits, act_bits)
    run = kernel[1] * depth_in
    column = Column(kernel[0], run, kernel[0] * _up(run, word), kernel[0] * (run % word), False)
    tiles = ceil(out_shape[0] * out_shape[1] / tiling.pixels) * groups
    stored = _up(out_shape[2] // groups, tiling.channels)
    touching, crossing = edges(
        in_shape[:2], out_shape[:2], kernel, stride, dilation, pad, tiling.pixels
    )
    columns = tiles * tiling.pixels
    direct = conv_is_direct(kernel, pad, groups, in_shape[2]) and stride == (1, 1)
    form = "direct" if direct else "border" if any(pad) else "inside"
    way = "straight_" if column.straight else ""
    features = {
        "product": columns * stored * column.depth,
        "result": columns * stored,
        f"{way}column": columns * column.depth,
        f"{way}run": columns * column.runs,
        "left": columns * column.left,
        "direct_tile" if direct else f"{way}tile": tiles,
        "edge_tile": touching * groups,
        "edge_run": touching * column.runs * groups,
        "edge_row": crossing * groups,
        "edge_byte": crossing * kernel[1] * in_shape[2],
        "layer": 1,
    }
    return Work(
        "conv2d", weight_bits, act_bits, act_signed,
        {name: count for name, count in features.items() if count},
        macs=out_shape[0] * out_shape[1] * out_shape[2] * kernel[0] * kernel[1] * depth_in,
        form="grouped" if groups > 1 else f"straight_{form}" if column.straight else form,
        stored={"code": groups * stored * column.depth, "channel": groups * stored, "layer": 1},
    )  # fmt: skip


def _linear(
    family: str, inputs: int, outputs: int, weight_bits: int, act_bits: int, act_signed: bool
) -> Work:
    """Work of a fully connected layer in a family."""
    tiling = FAMILIES[family]
    depth, rows = _up(inputs, 4), _up(outputs, tiling.rows)
    return Work(
        "linear", weight_bits, act_bits, act_signed,
        {"product": rows * depth, "result": rows, "column": depth, "layer": 1},
        macs=inputs * outputs,
        form="copied" if inputs % 4 else "direct",
        stored={"code": rows * depth, "channel": rows, "layer": 1},
    )  # fmt: skip


def _depthwise(
    family: str, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair,
    pad: Pad, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a depthwise convolution in a family; None for what it leaves to others."""
    if dilation != (1, 1):
        return None
    (height, width, _), (rows, columns, channels) = in_shape, out_shape
    plane = (height + pad[0] + pad[2]) * (width + pad[1] + pad[3])
    form = "border" if any(pad) else "inside"
    pairs = ceil(rows / 2) * columns
    loops = {"product": pairs * kernel[0] * kernel[1], "pair": pairs, "row": rows}
    features = {
        **{name: channels * count for name, count in loops.items()},
        "gather": channels * height * width,
        "gather_row": channels * height,
        "plane": channels * plane,
        "channel": channels,
        "layer": 1,
    }
    return Work(
        "depthwise_conv2d", weight_bits, act_bits, act_signed,
        {name: count for name, count in features.items() if count},
        macs=rows * columns * channels * kernel[0] * kernel[1],
        form=form,
        stored={"code": channels * kernel[0] * kernel[1], "channel": channels, "layer": 1},
    )  # fmt: skip


for _family in FAMILIES:
    SPECIAL[_family, "conv2d"] = partial(_conv2d, _family)
    SPECIAL[_family, "linear"] = partial(_linear, _family)
    SPECIAL[_family, "depthwise_conv2d"] = partial(_depthwise, _family)
