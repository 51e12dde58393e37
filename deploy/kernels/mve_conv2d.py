# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with MVE: four output channels by two pixels at a time.

The windows of two pixels are copied into two columns of bytes, padding filled in, and their sums
taken on the way; a tile function then runs over all channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.mve_geometry import CONV_TILE
from ..ops.base import CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d, window_values
from . import mve_linear
from . import mve_packing as mve

HEADER = 16
"""Bytes before the columns: both sums, the number of channels, the distance of the outputs."""
REACH = 508
"""A vector load reaches so many bytes past its base register."""


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a convolution; one whose window is the whole input is a fully connected layer."""
    assert isinstance(op, Conv2d)
    source, window = inputs[0], op.window
    if op.groups == 1 and window.kernel == source.shape[:2] and not any(window.pad):
        return mve_linear.plan(op, inputs, output)
    scheme = mve.choose(op, source.type, CONV_TILE)
    outputs = output.shape[2] // op.groups
    depth = source.shape[2] // op.groups
    apart = window.kernel[1] > 1 and (op.groups > 1 or window.dilation[1] > 1)
    tiles = [4] * -(-outputs // 4)
    array = mve.stream(op, scheme, tiles, op.groups)
    tile = tile_helper(op, scheme, outputs, output)
    append = mve.helper("mve_append", "append", {"flip": scheme.centre})
    span = tuple(d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True))
    values = {
        **window_values(window, source.shape, output.shape),
        "groups": op.groups,
        "depth": depth,
        "outputs": outputs,
        "stream_words": len(array.values) // op.groups,
        "tile": mve.tag_of(tile),
        "append": mve.tag_of(append),
        "per_row": window.kernel[1] if apart else 1,
        "taps": 1 if apart else window.kernel[1],
        "contiguous": window.kernel == (1, 1) and window.stride == (1, 1) and not any(window.pad),
        "pad_byte": (op.pad_value + scheme.centre) % 256,
        "span": span,
        "pixels": output.shape[0] * output.shape[1],
        "sum_factor": scheme.sum_factor,
        "column": scheme.depth,
    }
    helpers: tuple[Helper, ...] = (("mve_guard", ()), ("mve_finish", ()), append)
    if any(window.pad):
        helpers += (("mve_fill", ()),)
    proofs = (*op.proof(inputs), *mve.proof(scheme))
    scratch = HEADER + 2 * scheme.depth
    return CPlan("conv2d", values, (array,), (*helpers, tile), scratch, proofs)


def tile_helper(op: Conv2d, scheme: mve.Scheme, outputs: int, output: TensorInfo) -> Helper:
    """The tile function; layers that need the same one share it."""
    values: dict[str, object] = {
        **mve.loop_values(scheme.steps),
        **mve.requant_values(op.requant),
        "depth": scheme.depth,
        "far": scheme.depth > REACH,
        "fields": scheme.fields,
        "bits": scheme.bits,
        "factor": scheme.factor,
        "odd": outputs % 4 != 0,
        "out": output.type.c_name,
    }
    return mve.helper("mve_tile", "tile", values)
