# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with the DSP extension: two output channels by two pixels at a time.

The order of the weights of one output is free. A column therefore takes each run of adjacent input
bytes (a kernel row, or a tap where the kernel is dilated) in whole words first, and the one to
three bytes left over of every run come last, together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ops.base import CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d, window_values
from ..requant import Int64
from . import dsp_columns as columns_of
from . import dsp_loops
from . import dsp_packing as dsp


@dataclass(frozen=True)
class Runs:
    """Adjacent input bytes of one window.

    Attributes:
        count: runs of a window.
        per_row: runs of a kernel row: 1, or the kernel's width where it is dilated.
        taps: kernel taps of a run.
        size: bytes of a run.
    """

    count: int
    per_row: int
    taps: int
    size: int

    @property
    def left(self) -> int:
        """Bytes of a run after its last whole word."""
        return self.size % 4

    @property
    def tail_blocks(self) -> int:
        """Words of all bytes left over."""
        return (self.count * self.left + 3) // 4

    @property
    def blocks(self) -> int:
        """Words of a whole column of bytes."""
        return self.count * (self.size // 4) + self.tail_blocks

    def order(self, codes: Int64) -> Int64:
        """Codes ``[outputs, K]`` in the order of the column, filled with zero codes."""
        runs = codes.reshape(len(codes), self.count, self.size)
        whole = runs[:, :, : self.size - self.left].reshape(len(codes), -1)
        left = runs[:, :, self.size - self.left :].reshape(len(codes), -1)
        fill = np.zeros((len(codes), 4 * self.tail_blocks - left.shape[1]), np.int64)
        return np.concatenate([whole, left, fill], axis=1)


def runs_of(op: Conv2d, channels: int) -> Runs:
    """The runs of a convolution's window."""
    height, width = op.window.kernel
    if op.window.dilation[1] > 1 and width > 1:
        return Runs(height * width, width, 1, channels)
    return Runs(height, 1, width, width * channels)


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a convolution of one group; None for grouped ones."""
    assert isinstance(op, Conv2d)
    source = inputs[0]
    if op.groups != 1:
        return None
    scheme = dsp.choose(op, source.type)
    runs = runs_of(op, source.shape[2])
    columns = runs.blocks * scheme.words_per_block
    loop = dsp_loops.shape(columns, scheme.fields, word_instructions(scheme))
    tile = tile_helper(op, scheme, loop, output)
    widen = columns_of.widen_helper(scheme, runs.size // 4)
    sums = scheme.sums
    place = _places(runs, columns, sums, scheme.late, output)
    values = {
        **window_values(op.window, source.shape, output.shape),
        "tile": dsp.tag_of(tile),
        "widen": dsp.tag_of(widen) if widen else "",
        "passes": runs.size // 4 // columns_of.unrolled_blocks(runs.size // 4) if widen else 0,
        "runs": runs,
        "pixels": output.shape[0] * output.shape[1],
        "contiguous": op.window.kernel == (1, 1) and op.window.stride == (1, 1)
        and not any(op.window.pad),
        "pad_value": op.pad_value,
        "pad_byte": op.pad_value % 256,
        "span": (
            op.window.dilation[0] * (op.window.kernel[0] - 1) + 1,
            op.window.dilation[1] * (op.window.kernel[1] - 1) + 1,
        ),
        **place,
        **columns_of.column_values(op, scheme),
    }
    arrays = (dsp_loops.stream(op, scheme, runs.order(scheme.codes), 2, loop, 8),)
    proofs = (*op.proof(inputs), *dsp.proof(scheme, 4 * runs.blocks))
    helpers = columns_of.helpers(scheme, tile, widen)
    return CPlan("conv2d", values, arrays, helpers, place["scratch"], proofs)


def tile_helper(
    op: Conv2d, scheme: dsp.Scheme, loop: dsp_loops.Loop, output: TensorInfo
) -> Helper:
    """The tile function; layers that need the same one share it."""
    values: dict[str, object] = {
        **dsp.unpack_values(scheme),
        **loop.values(),
        "early_bytes": 8 if scheme.sums and not scheme.late else 0,
        "odd": output.shape[2] % 2 == 1,
        "out": output.type.c_name,
        **dsp.requant_values(op.requant, 2),
    }
    return dsp.helper("dsp_tile", f"tile_{scheme.mode}{scheme.bits}", values)


def word_instructions(scheme: dsp.Scheme) -> int:
    """Instructions of one weight word in the inner loop."""
    loads = 1 + (scheme.fields if scheme.mode == "products" else (scheme.fields + 1) // 2)
    groups = scheme.fields // scheme.group if scheme.group else 0
    return loads + 6 * scheme.fields + 4 * groups


def _places(
    runs: Runs, columns: int, sums: bool, late: bool, output: TensorInfo
) -> dict[str, int]:
    """Where the working memory holds what; words, except the total in bytes."""
    first = 2 if sums and not late else 0
    at = first + 2 * columns
    sums_at = at if late else 0
    at += 2 if sums and late else 0
    row_words = (runs.size + 3) // 4
    pad_at, rows_at = at, at + row_words
    tail_at = rows_at + 2 * row_words
    spare_at = tail_at + 2 * runs.tail_blocks
    total = spare_at + (output.shape[2] + 3) // 4
    return {
        "first": first, "sums_at": sums_at, "pad_at": pad_at, "rows_at": rows_at,
        "row_words": row_words, "tail_at": tail_at, "spare_at": spare_at, "scratch": 4 * total,
    }  # fmt: skip
