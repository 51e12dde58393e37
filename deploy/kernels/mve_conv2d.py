# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with MVE: four output channels by two pixels at a time.

The windows of two pixels are copied into two columns of bytes, padding filled in, and their sums
taken on the way; a tile function then runs over all channels. What differs between layers only in
numbers is read from the layer's job, so that a network holds one driver for all windows, one for
all direct columns, and one tile function for each way of storing codes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.mve_geometry import LANES, LOOPED, SHORT, entry_steps, is_long, steps_of
from ...hw_models.mve_storage import conv_storage
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d
from . import mve_linear
from . import mve_packing as mve

HEADER = 40
"""Bytes before the columns: both column sums, then eight words of the job."""
STEP_BYTES = 56
"""Code bytes of one step of a tile; every instruction there has four."""
DIRECT = (
    "pixels", "step", "outputs", "entry", "depth", "zero", "factor", "lo", "hi", "sum_factor",
    "second", "run", "beyond",
)  # fmt: skip
"""The job of a layer whose pixels are its columns; the second to ninth stand before the columns."""
WINDOWS = (
    *DIRECT, "rows", "row_step", "right", "end", "start", "down", "inside_y", "inside_x", "width",
    "channels", "top", "height", "taps", "tap", "dilation_y", "dilation_x", "pad_byte",
)  # fmt: skip
"""The job of any other layer."""


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a convolution; one whose window is the whole input is a fully connected layer."""
    assert isinstance(op, Conv2d)
    source, window = inputs[0], op.window
    if op.groups == 1 and window.kernel == source.shape[:2] and not any(window.pad):
        return mve_linear.plan(op, inputs, output)
    outputs = output.shape[2] // op.groups
    tiles = -(-outputs // 4)
    pixels = output.shape[0] * output.shape[1]
    steps = steps_of(op.weights.rows().shape[1])
    scheme = mve.choose(
        op, source.type,
        lambda counts: conv_storage(
            steps, tiles, -(-pixels // 2), op.groups, source.size + output.size, counts
        ),
    )  # fmt: skip
    array = mve.stream(op, scheme, [4] * tiles, op.groups)
    direct = window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.pad)
    names = DIRECT if direct else WINDOWS
    numbers = _job(op, scheme, source, output)
    job = tuple(int(numbers[name]) for name in names)
    tile = tile_helper(op, scheme, outputs)
    places = {name: place for place, name in enumerate(names)}
    helpers: tuple[Helper, ...] = (("mve_guard", ()), ("mve_finish", ()), ("mve_kept", ()))
    append = mve.helper("mve_append", "append", {"flip": scheme.centre})
    border = ""
    if not direct and (_apart(op) or any(window.pad)):
        reading = mve.helper(
            "mve_border",
            "border",
            {"append": mve.tag_of(append), "apart": _apart(op), "at": places},
        )
        helpers += (append, ("mve_fill", ()), reading)
        border = mve.tag_of(reading)
    head = -(-(HEADER + scheme.depth + int(numbers["second"])) // 4) * 4
    apart = ""
    if scheme.apart:
        taking = mve.helper("mve_apart", "apart", {
            "fields": scheme.fields, "bits": scheme.bits,
            "constants": 3 if mve.same_zero(op.requant) is None else 2,
        })  # fmt: skip
        helpers += (taking,)
        apart = mve.tag_of(taking)
    pairs = mve.helper(
        "mve_pairs", "pairs", {"direct": direct, "flip": scheme.centre, "at": places}
    )
    return CPlan(
        "conv2d",
        {
            "groups": op.groups,
            "depth": source.shape[2] // op.groups,
            "outputs": outputs,
            "stream_words": len(array.values) // op.groups,
            "tile": mve.tag_of(tile),
            "pairs": mve.tag_of(pairs),
            "direct": direct,
            "border": border,
            "apart": apart,
            "head": head,
            "tiles": tiles,
            # vectors of codes of a tile
            "vectors": 4 * scheme.steps // scheme.fields,
        },
        (array, CArray("j", "int32_t", job, ", ".join(names).replace("_", " "))),
        (*helpers, tile, pairs),
        head + _apart_bytes(op, scheme, tiles),
        (*op.proof(inputs), *mve.proof(scheme)),
    )


def _apart_bytes(op: Conv2d, scheme: mve.Scheme, tiles: int) -> int:
    """Working memory of codes taken apart, with the constants between them."""
    constants = 48 if mve.same_zero(op.requant) is None else 32
    return tiles * (4 * scheme.depth + constants) * scheme.apart


def _apart(op: Conv2d) -> bool:
    """Whether the taps of a window's row lie apart in the input."""
    return op.window.kernel[1] > 1 and (op.groups > 1 or op.window.dilation[1] > 1)


def _job(op: Conv2d, scheme: mve.Scheme, source: TensorInfo, output: TensorInfo) -> dict[str, int]:
    window = op.window
    height, width, channels = source.shape
    depth = channels // op.groups
    span = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
    apart = _apart(op)
    run = depth if apart else window.kernel[1] * depth
    whole = LANES * steps_of(run)
    rule = op.requant
    return {
        "pixels": output.shape[0] * output.shape[1],
        "step": output.shape[2],
        "outputs": output.shape[2] // op.groups,
        "entry": STEP_BYTES * entry_steps(scheme.steps),
        "depth": scheme.depth,
        "zero": mve.same_zero(rule) or 0,
        "factor": _signed(scheme.factor % mve.WORD),
        "lo": rule.lo,
        "hi": rule.hi,
        "sum_factor": _signed(scheme.sum_factor),
        "second": scheme.depth if is_long(scheme.steps) else SHORT,
        "run": run,
        # vectors end so many bytes beyond a run
        "beyond": whole - run,
        "rows": window.kernel[0],
        "row_step": window.dilation[0] * width * channels - whole,
        "right": window.stride[1],
        "end": output.shape[1] * window.stride[1] - window.pad[1],
        "start": -window.pad[1],
        "down": window.stride[0],
        # taps that lie apart are read one by one, as those at the border are
        "inside_y": 0 if apart else max(0, height - span[0] + 1),
        "inside_x": 0 if apart else max(0, width - span[1] + 1),
        "width": width,
        "channels": channels,
        "top": -window.pad[0],
        "height": height,
        "taps": window.kernel[1],
        "tap": depth,
        "dilation_y": window.dilation[0],
        "dilation_x": window.dilation[1],
        "pad_byte": (op.pad_value + scheme.centre) % 256,
    }


def _signed(word: int) -> int:
    """A word as the int32 of the same bits."""
    return word - mve.WORD if word >= mve.WORD // 2 else word


def tile_helper(op: Conv2d, scheme: mve.Scheme, outputs: int) -> Helper:
    """The tile function; layers that store codes the same way share it."""
    zero = mve.same_zero(op.requant)
    values: dict[str, object] = {
        "long": is_long(scheme.steps),
        "second": SHORT,
        "fields": 1 if scheme.apart else scheme.fields,
        "bits": 8 if scheme.apart else scheme.bits,
        "odd": outputs % 4 != 0,
        "zero": "each" if zero is None else "same" if zero else "",
        "unroll": LOOPED,
    }
    return mve.helper("mve_tile", "tile", values)
