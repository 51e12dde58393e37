# SPDX-License-Identifier: Apache-2.0
"""Readers of .tflite operators that move codes, and of the mean over an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ops.base import Window
from ..ops.pad import Pad
from ..ops.slice import Slice
from ..ops.source import Reshape
from ..ops.tflite_weighted import TfliteDepthwiseConv2d
from ..ops.transpose import Transpose
from ..ops.weighted import Weights
from ..tflite_rule import TfliteRequant
from .tflite import Builder, Unreadable
from .tflite_constants import mean_constants
from .tflite_file import TfOperator

Reader = Callable[[Builder, TfOperator], None]


def read_pad(b: Builder, op: TfOperator) -> None:
    """PAD with the zero point, PADV2 with its own constant."""
    source = b.source(op)
    pairs = np.array(b.values(op, 1)).reshape(-1, 2)
    if pairs[0].any() or len(pairs) != len(source.output.shape) + 1:
        raise Unreadable(f"padding {pairs.tolist()}; all axes but the batch are supported")
    value = b.values(op, 2)[0] if op.name == "PADV2" else source.output.zero
    before, after = (tuple(int(v) for v in pairs[1:, i]) for i in (0, 1))
    b.add(op, Pad(before, after, value), (source,))


def read_transpose(b: Builder, op: TfOperator) -> None:
    """TRANSPOSE that leaves the batch in front."""
    axes = b.values(op, 1)
    if axes[0] != 0:
        raise Unreadable(f"axes {axes}; the batch must stay in front")
    b.add(op, Transpose(tuple(axis - 1 for axis in axes[1:])), (b.source(op),))


def read_slice(b: Builder, op: TfOperator) -> None:
    """SLICE."""
    start, out = b.values(op, 1), b.tensor(op.outputs[0]).shape
    if start[0] != 0:
        raise Unreadable("a slice of the batch; the other axes are supported")
    rank = len(out) - 1
    b.add(op, Slice(tuple(start[1:]), tuple(out[1:]), (1,) * rank), (b.source(op),))


def read_strided_slice(b: Builder, op: TfOperator) -> None:
    """STRIDED_SLICE with positive steps that keeps all axes."""
    source, (begin, end, step) = b.source(op), (b.values(op, i) for i in (1, 2, 3))
    masks = [op.option(i) for i in range(5)]
    shape = (1, *source.output.shape)
    if any(masks[2:]) or min(step) < 1 or len(begin) != len(shape):
        raise Unreadable(
            "ellipsis, new or dropped axes or negative steps; begin, end and positive steps of"
            " every axis are supported"
        )
    starts, sizes = [], []
    for axis, size in enumerate(shape):
        first = None if masks[0] >> axis & 1 else begin[axis]
        last = None if masks[1] >> axis & 1 else end[axis]
        low, high, by = slice(first, last, step[axis]).indices(size)
        starts.append(low)
        sizes.append(len(range(low, high, by)))
    if sizes[0] != 1:
        raise Unreadable("a slice of the batch; the other axes are supported")
    b.add(op, Slice(tuple(starts[1:]), tuple(sizes[1:]), tuple(step[1:])), (source,))


def read_split(b: Builder, op: TfOperator) -> None:
    """SPLIT into equal parts."""
    source, axis = b.source(op, 1), b.values(op, 0)[0]
    shape = source.output.shape
    axis = axis % (len(shape) + 1) - 1
    if axis < 0:
        raise Unreadable("a split of the batch; the other axes are supported")
    size = shape[axis] // len(op.outputs)
    for part, index in enumerate(op.outputs):
        start, sizes = [0] * len(shape), list(shape)
        start[axis], sizes[axis] = part * size, size
        b.add_tensor(index, Slice(tuple(start), tuple(sizes), (1,) * len(shape)), (source,))


def read_mean(b: Builder, op: TfOperator) -> None:
    """MEAN over height and width: sums of the whole image, the division inside the multiplier."""
    source, axes = b.source(op), sorted(v % 4 for v in b.values(op, 1))
    shape = source.output.shape
    if len(shape) != 3 or axes != [1, 2]:
        raise Unreadable(f"a mean over axes {axes} of {shape}; (1, 2) of an image is supported")
    tensor = b.tensor(op.outputs[0])
    type_, out_scale, zero = b.grid(tensor)
    info, channels = source.output, shape[2]
    count = shape[0] * shape[1]
    m, shift = mean_constants(info.scale, out_scale, count)
    rule = TfliteRequant(
        np.full(channels, -info.zero * count), np.full(channels, m), np.full(channels, shift),
        zero, type_.lo, type_.hi, "double",
    )  # fmt: skip
    ones = Weights(np.ones((channels, shape[0], shape[1], 1), np.uint8), 1, 1, 0)
    mean = TfliteDepthwiseConv2d(ones, rule, type_, Window((shape[0], shape[1])))
    if len(tensor.shape) == 4:
        b.add(op, mean, (source,))
        return
    node = b.step(f"mean_{tensor.index}", mean, (source,), out_scale, zero, tensor.name)
    b.add(op, Reshape((channels,)), (node,))


MOVES: dict[str, Reader] = {
    "MEAN": read_mean,
    "PAD": read_pad,
    "PADV2": read_pad,
    "SLICE": read_slice,
    "SPLIT": read_split,
    "STRIDED_SLICE": read_strided_slice,
    "TRANSPOSE": read_transpose,
}
"""How each operator is read, by its name in the schema."""
