# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels count the work of convolutions and fully connected layers.

Features follow the loops of the kernels, so that one price each is right for every shape: tiles of
two pixels by two channels, column words, passes of a loop, words widened and bytes moved.
"""

from __future__ import annotations

from functools import cache
from math import ceil

import numpy as np

from .dsp_column import FEWEST_BLOCKS, Column, column_of
from .dsp_form import Packing, expected_packing, expected_rows_packing, loop_shape, unrolled_blocks
from .dsp_planes import one_channel_work
from .work import SPECIAL, Work

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
Shape = tuple[int, int, int]
WINDOW_REACH = 4095
"""A load reaches so many bytes past its base register."""
ROWS = 4
"""Outputs of a fully connected layer computed together; half as many with product groups."""


def _counted(features: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in features.items() if count}


def _loops(packing: Packing, columns: int, instructions: int, tiles: int) -> dict[str, int]:
    """Inner loops of so many tiles over a column of so many words."""
    loop = loop_shape(columns, packing.fields, instructions)
    return {
        f"{packing.mode}_product": tiles * columns,
        f"{packing.mode}_word": tiles * ceil(columns / packing.fields),
        f"{packing.mode}_pass": tiles * loop.iterations,
        f"{packing.mode}_tile": tiles,
    }


@cache
def border(
    in_hw: Pair, out_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad, last: Pair
) -> tuple[int, int, int]:
    """Tiles of two pixels that do not lie inside, and what their kernel rows are.

    Args:
        in_hw: height and width of the image.
        out_hw: of the result.
        kernel: rows and columns of the window.
        stride: of the window.
        dilation: of the window.
        pad: top, left, bottom, right.
        last: last position, row after row, where a window may start, and where a run may.

    Returns:
        (tiles, kernel rows of their pixels that cross a side, kernel rows above or below).
    """
    y = np.arange(out_hw[0]) * stride[0] - pad[0]
    x = np.arange(out_hw[1]) * stride[1] - pad[1]
    span = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    inside = ((y >= 0) & (y + span[0] <= in_hw[0]))[:, None] & (x >= 0) & (x + span[1] <= in_hw[1])
    inside &= y[:, None] * in_hw[1] + x <= last[0]
    rows = y[:, None] + np.arange(kernel[0]) * dilation[0]
    out = (rows < 0) | (rows >= in_hw[0])
    crosses = (x < 0) | (x + span[1] > in_hw[1])
    reaches = rows[:, None, :] * in_hw[1] + x[:, None] > last[1]
    crossing = (~out[:, None, :] & (crosses[:, None] | reaches)).sum(axis=2)
    outside = np.broadcast_to(out.sum(axis=1)[:, None], inside.shape)
    flat = [array.reshape(-1) for array in (inside, crossing, outside)]
    if len(flat[0]) % 2:
        flat = [np.append(array, array[-1]) for array in flat]
    tiles = ~(flat[0][::2] & flat[0][1::2])
    pixels = np.repeat(tiles, 2)
    return int(tiles.sum()), int(flat[1][pixels].sum()), int(flat[2][pixels].sum())


def _column_features(
    column: Column, packing: Packing, tiles: int, contiguous: bool, window: bool, touching: int,
    bordered: bool,
) -> dict[str, int]:  # fmt: skip
    """Building the columns of so many tiles, ``touching`` of them at a border."""
    # product groups take the bytes as they are
    raw = "raw_" if packing.mode == "products" else ""
    if column.whole >= FEWEST_BLOCKS and not column.over:
        passes = column.whole // unrolled_blocks(column.whole)
        blocks = {f"{raw}block": column.runs * column.whole, "widen_pass": column.runs * passes}
        way = "widen"
    else:
        way = "inline"
        inline = column.whole - column.over
        blocks = {f"{raw}inline_block": column.runs * (inline + column.over) + column.tail_blocks,
                  "over_block": column.runs * column.over}  # fmt: skip
    own = {
        **blocks,
        f"{way}_run": column.runs,
        "left": column.runs * column.left,
        "tail": int(column.left > 0),
    }
    place = "direct" if contiguous else "border" if bordered else "inside"
    if not window:
        found = {name: tiles * count for name, count in own.items()}
        return {**found, f"{place}_{way}_tile": tiles}
    taken = {
        f"{raw}window_block": column.blocks,
        "window_byte": column.runs * column.left,
    }
    found = {name: (tiles - touching) * count for name, count in taken.items()}
    found.update((name, touching * count) for name, count in own.items())
    return {**found, f"{place}_window_tile": tiles - touching, "edge_tile": touching}


def _conv2d(
    in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad,
    groups: int, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work:  # fmt: skip
    """Work of a convolution."""
    if groups == 1 and kernel == in_shape[:2] and not any(pad):
        inputs = in_shape[0] * in_shape[1] * in_shape[2]
        # the same code, so it has the prices of a fully connected layer
        return _linear(inputs, out_shape[2], weight_bits, act_bits, act_signed)
    shape = (in_shape, out_shape, kernel, stride, dilation, pad)
    planes = one_channel_work(*shape, weight_bits, act_bits, act_signed)
    if planes is not None:
        return planes
    depth, outputs = in_shape[2] // groups, out_shape[2] // groups
    column = column_of(kernel, dilation, groups, depth)
    apart = column.runs > kernel[0]
    row = kernel[0] * kernel[1] * depth
    packing = expected_packing(weight_bits, act_bits, outputs, column, act_signed=act_signed)
    tiles = groups * ceil(out_shape[0] * out_shape[1] / 2)
    pairs = tiles * ceil(outputs / 2)
    reach = (column.runs - 1) * dilation[0] * in_shape[1] * in_shape[2] + 4 * column.whole
    window = column.straight and not apart and reach + column.left <= WINDOW_REACH
    bordered = any(pad) or column.over
    contiguous = kernel == (1, 1) and stride == (1, 1) and not any(pad)
    touching = crossing = outside = 0
    if bordered:
        size = in_shape[0] * in_shape[1] * in_shape[2]
        readable = size - (4 * column.whole if column.over else column.run)
        last_run = readable // in_shape[2]
        last = (last_run - dilation[0] * (kernel[0] - 1) * in_shape[1], last_run)
        none = (1 << 30, 1 << 30)
        counts = border(in_shape[:2], out_shape[:2], kernel, stride, dilation, pad,
                        last if column.over else none)  # fmt: skip
        touching, crossing, outside = (groups * count for count in counts)
    taps = crossing * kernel[1] if not apart else 0
    per_row = column.runs // kernel[0]
    features = {
        **_loops(packing, column.blocks * packing.words_per_block, packing.tile_word(), pairs),
        **_column_features(column, packing, tiles, contiguous, window, touching, bordered),
        "edge_run": per_row * (2 * touching * kernel[0] - outside),
        "edge_outside": per_row * outside,
        "edge_tap_run": crossing * (per_row if apart else 0),
        "edge_tap": taps,
        "edge_word" if depth % 4 == 0 else "edge_byte": taps * (depth if depth % 4 else depth // 4),
        "layer": 1,
    }
    place = "direct" if contiguous else "border" if bordered else "inside"
    return Work(
        "conv2d", weight_bits, act_bits, act_signed, _counted(features),
        macs=out_shape[0] * out_shape[1] * out_shape[2] * row,
        form="grouped" if groups > 1 else f"straight_{place}" if window else place,
        stored={"code": 2 * groups * ceil(outputs / 2) * 4 * column.blocks,
                "channel": 2 * groups * ceil(outputs / 2), "layer": 1},
    )  # fmt: skip


def _linear(
    inputs: int, outputs: int, weight_bits: int, act_bits: int, act_signed: bool
) -> Work:
    """Work of a fully connected layer."""
    packing = expected_rows_packing(weight_bits, act_bits, outputs, inputs)
    together = ROWS // 2 if packing.mode == "products" else ROWS
    blocks = ceil(inputs / 4)
    tiles = ceil(outputs / together)
    features = {
        **_loops(packing, blocks * packing.words_per_block, packing.rows_word(), tiles),
        "block": inputs // 4,
        "left": inputs % 4,
        "tail": int(inputs % 4 > 0),
        "layer": 1,
    }
    return Work(
        "linear", weight_bits, act_bits, act_signed, _counted(features),
        macs=inputs * outputs,
        form="copied" if inputs % 4 else "direct",
        stored={"code": tiles * together * 4 * blocks, "channel": tiles * together, "layer": 1},
    )  # fmt: skip


SPECIAL["dsp", "conv2d"] = _conv2d
SPECIAL["dsp", "linear"] = _linear
