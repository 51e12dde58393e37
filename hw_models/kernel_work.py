# SPDX-License-Identifier: Apache-2.0
"""How the kernel families count their work: tiles of output pixels by output channels.

Every family gathers columns of a few pixels, then runs all channels over them, so its cost follows
how many tiles there are, how long a column is and how many rows of the input a column takes; what
one of each costs depends on the widths and stands in the table. Storage is counted the same way,
because the density of packed weights depends on the form that the widths allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from .edges import Pad, Pair, Shape, edges
from .work import SPECIAL, Work, conv_is_direct


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


FAMILIES = {"dsp": Tiling(2, 2, 4)}
OVER_LIMIT, WINDOW_BLOCKS, FEWEST_BLOCKS = 1.06, 16, 3
"""Where the DSP kernels read past a run, read a window in straight code, or call once a run."""

def _up(count: int, unit: int) -> int:
    return ceil(count / unit) * unit


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


def dsp_column(kernel: Pair, dilation: Pair, groups: int, channels: int) -> Column:
    """The column of the DSP kernels: whole words of every run, left-over bytes last, together.

    Runs are read past their end, in whole words, where that costs next to nothing.
    """
    apart = kernel[1] > 1 and (dilation[1] > 1 or groups > 1)
    runs, run = (kernel[0] * kernel[1], channels) if apart else (kernel[0], kernel[1] * channels)
    whole, left = divmod(run, 4)
    tail = ceil(runs * left / 4)
    blocks, over = runs * whole + tail, runs * ceil(run / 4)
    if not apart and kernel != (1, 1) and left and over <= OVER_LIMIT * blocks:
        return Column(runs, run, 4 * over, 0, False)
    long_runs = left == 0 and whole >= FEWEST_BLOCKS
    straight = not apart and blocks <= WINDOW_BLOCKS and runs >= 2 and not long_runs
    return Column(runs, run, 4 * blocks, runs * left, straight)


def _conv2d(
    family: str, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair,
    pad: Pad, groups: int, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a convolution in a family; None for what it leaves to others."""
    if groups == 1 and kernel == in_shape[:2] and not any(pad):
        inputs = in_shape[0] * in_shape[1] * in_shape[2]
        rows = _linear(family, inputs, out_shape[2], weight_bits, act_bits, act_signed)
        whole = {f"whole_{name}": count for name, count in rows.features.items()}
        return replace(rows, kind="conv2d", features=whole, form="whole")
    tiling = FAMILIES[family]
    depth_in = in_shape[2] // groups
    column = dsp_column(kernel, dilation, groups, depth_in)
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
    if kernel == (3, 3) and stride[1] <= 2:
        loops = {"pair": rows * ceil(columns / 2), "odd": rows * (columns % 2), "row": rows}
    else:
        form = f"any_{form}"
        outputs = rows * columns
        loops = {
            "any_product": outputs * kernel[0] * _up(kernel[1], 2),
            "any_row": outputs * kernel[0],
            "any_output": outputs,
        }
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
