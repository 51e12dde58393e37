# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with the DSP extension: two output channels by two pixels at a time.

Windows inside the input are widened straight from it; those at a border go through buffers of
their rows with the padding filled in.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.dsp_column import FEWEST_BLOCKS, WINDOW_BLOCKS, column_of
from ...hw_models.dsp_form import Loop, loop_shape, unrolled_blocks
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d, window_values
from . import dsp_columns as columns_of
from . import dsp_linear, dsp_loops, dsp_one_channel
from . import dsp_packing as dsp
from .dsp_runs import Runs, runs_of

WINDOW_REACH = 4095
"""A load reaches so many bytes past its base register."""


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a convolution; one whose window is the whole input is a fully connected layer."""
    assert isinstance(op, Conv2d)
    source, window = inputs[0], op.window
    if op.groups == 1 and window.kernel == source.shape[:2] and not any(window.pad):
        return dsp_linear.plan_rows(op, inputs, output)
    form = dsp_one_channel.form_of(op, source)
    if form is not None:
        return dsp_one_channel.plan(op, form, inputs, output)
    depth = source.shape[2] // op.groups
    column = column_of(window.kernel, window.dilation, op.groups, depth)
    scheme = dsp.choose(op, source.type, column)
    runs = runs_of(op, column)
    columns = runs.blocks * scheme.words_per_block
    loop = loop_shape(columns, scheme.fields, scheme.packing.tile_word())
    tile = tile_helper(op, scheme, loop, output)
    widen = None if runs.over else columns_of.widen_helper(scheme, runs.whole)
    window_helper = _window(op, scheme, runs, source)
    place = _places(runs, columns, scheme.sums, scheme.late, output)
    codes = runs.order(scheme.codes)
    stream = dsp_loops.stream(op, scheme, codes, 2, loop, 8, op.groups)
    contiguous = window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.pad)
    if contiguous and op.groups == 1 and not runs.left and widen is not None:
        return _points(op, scheme, stream, (tile, widen), place, inputs, output)
    span = tuple(d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True))
    readable = source.size - 4 * runs.whole if runs.over else source.size - runs.size
    values = {
        **window_values(window, source.shape, output.shape),
        "groups": op.groups,
        "depth": depth,
        "outputs": output.shape[2] // op.groups,
        "stream_words": len(stream.values) // op.groups,
        "tile": dsp.tag_of(tile),
        "window": dsp.tag_of(window_helper) if window_helper else "",
        "widen": dsp.tag_of(widen) if widen else "",
        "passes": runs.whole // unrolled_blocks(runs.whole) if widen else 0,
        "runs": runs,
        "pixels": output.shape[0] * output.shape[1],
        "contiguous": contiguous,
        "bordered": any(window.pad) or runs.over,
        "pad_byte": op.pad_value % 256,
        "span": span,
        # the last run of a window, and the last of all, must end inside the input
        "last_window": readable // source.shape[2] - (span[0] - 1) * source.shape[1],
        "last_run": readable // source.shape[2],
        **place,
        **columns_of.column_values(op, scheme),
    }
    arrays = (stream,)
    proofs = (*op.proof(inputs), *dsp.proof(scheme, 4 * runs.blocks))
    helpers = columns_of.helpers(scheme, tile, widen, window_helper)
    return CPlan("conv2d", values, arrays, helpers, place["scratch"], proofs)


def _points(
    op: Conv2d, scheme: dsp.Scheme, stream: CArray, functions: tuple[Helper, Helper],
    place: dict[str, int], inputs: Sequence[TensorInfo], output: TensorInfo,
) -> CPlan:  # fmt: skip
    """Plan of a convolution that reads its input pixel by pixel; such layers share their loop."""
    channels, (tile, widen) = inputs[0].shape[2], functions
    loop_values: dict[str, object] = {"sums": scheme.sums, "out": output.type.c_name}
    points = dsp.helper("dsp_points", "points", loop_values)
    blocks = channels // 4
    geometry = [output.size // output.shape[2], channels, blocks // unrolled_blocks(blocks),
                output.shape[2], place["first"], place["spare_at"]]  # fmt: skip
    if scheme.sums:
        factor = columns_of.column_values(op, scheme)["sum_factor"]
        geometry += [place["sums_at"], int(str(factor))]
    arrays = (stream, CArray("g", "uint32_t", tuple(geometry), "geometry of the pixels"))
    values = {
        "points": dsp.tag_of(points), "tile": dsp.tag_of(tile), "widen": dsp.tag_of(widen)
    }  # fmt: skip
    helpers = columns_of.helpers(scheme, tile, widen, points)
    proofs = (*op.proof(inputs), *dsp.proof(scheme, channels))
    return CPlan("points", values, arrays, helpers, place["scratch"], proofs)


def _window(op: Conv2d, scheme: dsp.Scheme, runs: Runs, source: TensorInfo) -> Helper | None:
    """The function for whole small windows; None for long runs, which are worth a call each."""
    step = op.window.dilation[0] * source.shape[1] * source.shape[2]
    reach = (runs.count - 1) * step + 4 * runs.whole + runs.left
    long_runs = runs.left == 0 and runs.whole >= FEWEST_BLOCKS
    many = runs.per_row > 1 or runs.blocks > WINDOW_BLOCKS or reach > WINDOW_REACH
    if many or runs.count < 2 or long_runs:
        return None
    return columns_of.window_helper(op, scheme, runs.window(step))


def tile_helper(
    op: Conv2d, scheme: dsp.Scheme, loop: Loop, output: TensorInfo
) -> Helper:
    """The tile function; layers that need the same one share it."""
    values: dict[str, object] = {
        **dsp.unpack_values(scheme),
        **loop.values(),
        "early_bytes": 8 if scheme.sums and not scheme.late else 0,
        "odd": output.shape[2] // op.groups % 2 == 1,
        "out": output.type.c_name,
        **dsp.requant_values(op.requant, 2),
    }
    if scheme.mode == "products":
        # the stream holds it, so that layers of different shifts share the function
        values["shift"] = 0
    return dsp.helper("dsp_tile", f"tile_{scheme.mode}{scheme.bits}", values)


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
