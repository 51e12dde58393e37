# SPDX-License-Identifier: Apache-2.0
"""Readers of .tflite operators that make images larger: both resizes, transposed convolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..ops.add import Add
from ..ops.base import Window
from ..ops.conv_transpose2d import ConvTranspose2d
from ..ops.slice import Slice
from ..ops.source import Reshape
from ..ops.tflite_weighted import TfliteConv2d
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleBilinear, UpsampleNearest, denominators, taps
from ..ops.weighted import Weights, accumulator_bounds
from ..requant import AddRequant, Int64, Requant, snap
from ..tflite_rule import TfliteRequant, quantize_multipliers
from .tflite import INT8, Builder, Unreadable
from .tflite_constants import layer_factors
from .tflite_file import TfOperator
from .tflite_weights import read_bias, read_weights
from .tflite_window import SAME

BITS = 10
"""Fractional bits of the positions of LiteRT's bilinear resize."""


def read_nearest(b: Builder, op: TfOperator) -> None:
    """RESIZE_NEAREST_NEIGHBOR where LiteRT picks the neighbours of the graph."""
    source = b.source(op)
    rows, columns = b.values(op, 1)
    corners, half = bool(op.option(0, "b")), bool(op.option(1, "b"))
    for size, out in zip(source.output.shape, (rows, columns), strict=False):
        found = _nearest(size, out, corners, half)
        if not np.array_equal(found, np.arange(out) * size // out):
            raise Unreadable(
                f"from {size} to {out} positions with align_corners {corners} and"
                f" half_pixel_centers {half}; neighbours floor(i * {size} / {out}), as whole"
                " factors without align_corners have, are supported"
            )
    b.add(op, UpsampleNearest((rows, columns)), (source,))


def _nearest(size: int, out: int, corners: bool, half: bool) -> Int64:
    """Neighbours in float32, as LiteRT computes them."""
    apart = corners and out > 1
    ratio = np.float32(size - apart) / np.float32(out - apart)
    x = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half else 0)) * ratio
    found = np.floor(x + np.float32(0.5)) if corners else np.floor(x)
    result: Int64 = np.clip(found.astype(np.int64), 0, size - 1)
    return result


def read_bilinear(b: Builder, op: TfOperator) -> None:
    """RESIZE_BILINEAR: the sum of its non-negative and its negative part, each rounded away.

    A weighted sum v of codes becomes ``min(ceil(v - 1/2), 0) + max(floor(v + 1/2), 0)``, which
    rounds ties away from zero as LiteRT does; native rounding has one part only.
    """
    source, tensor = b.source(op), b.tensor(op.outputs[0])
    type_, scale, _ = b.grid(tensor)
    shape, info = source.output.shape, source.output
    rows, columns = b.values(op, 1)
    corners, half = bool(op.option(2, "b")), bool(op.option(3, "b"))
    if corners == half or len(shape) != 3:
        raise Unreadable(
            f"align_corners {corners} and half_pixel_centers {half} of shape {shape}; one of them,"
            " for images, is supported; export the model again with half_pixel_centers"
        )
    size = (rows, columns)
    count = denominators(shape, size, corners)
    if not b.exact:
        ends = np.array([count * info.type.lo]), np.array([count * info.type.hi])
        rule = snap(np.array([1 / count]), np.array([-float(info.zero)]), *ends, zero=info.zero,
                    lo=type_.lo, hi=type_.hi, name=tensor.name)  # fmt: skip
        b.add(op, UpsampleBilinear(size, int(corners), rule, type_), (source,))
        return
    for length, out in zip(shape, size, strict=False):
        if not _same_weights(length, out, corners):
            raise Unreadable(
                f"from {length} to {out} positions, which LiteRT rounds to 1/1024; factors of 2, 4,"
                " 8, ... with half_pixel_centers are exact; use native rounding"
            )
    parts = []
    for name, bias, lo, hi in (("upper", 0, 0, 127), ("lower", -1, -128, 0)):
        # bias -1 is less than one unit of the sum: halves go down, nothing else changes
        numbers = (bias, 1 << 15, 16 + count.bit_length(), 0)
        constants, m, s, z = (np.array([v], np.int64) for v in numbers)
        rule = Requant(2, constants, m, s, z, lo, hi)
        part = UpsampleBilinear(size, int(corners), rule, INT8)
        parts.append(b.step(f"{name}_{op.outputs[0]}", part, (source,), scale, 0, tensor.name))
    b.add(op, Add(AddRequant((2, 2), 0, 1, 0, -128, 127), type_), (parts[0], parts[1]))


def _same_weights(size: int, out: int, corners: bool) -> bool:
    """Whether LiteRT's positions along an axis have the graph's weights exactly."""
    one = 1 << BITS
    apart = int(corners and out > 1)
    step = (one * (size - apart) + (out - apart) // 2) // (out - apart)
    position = np.arange(out) * step + (0 if corners else step // 2 - one // 2)
    low = np.maximum(np.trunc(position / one).astype(np.int64), 0)
    high = np.minimum(np.trunc((position + one - 1) / one).astype(np.int64), size - 1)
    found = _matrix(low, high, position - one * low, one, size)
    first, second, weight, denominator = taps(size, out, corners)
    wanted = _matrix(first, second, weight, denominator, size)
    return bool(np.array_equal(found * denominator, wanted * one))


def _matrix(low: Int64, high: Int64, weight: Int64, one: int, size: int) -> NDArray[np.int64]:
    result = np.zeros((len(low), size), np.int64)
    rows = np.arange(len(low))
    result[rows, np.minimum(low, size - 1)] += one - weight
    result[rows, high] += weight
    return result


def read_transpose_conv(b: Builder, op: TfOperator) -> None:
    """TRANSPOSE_CONV; in TFLite's rounding a convolution that makes all phases of a pixel.

    The positions of a result with stride s fall into s phases per axis, each a convolution of the
    input with every s-th tap: one convolution with s * s times the channels, whose result is put
    into its places by a transpose.
    """
    source, (weights, values) = b.source(op, 2), read_weights(b, op, 0)
    tensor = b.tensor(op.outputs[0])
    type_, scale, zero = b.grid(tensor)
    lo, hi = b.limits(op.option(3, "b"), tensor)
    height, width, channels = b.shape(tensor)
    stride, kernel = (op.option(2), op.option(1)), (values.shape[1], values.shape[2])
    if min(stride) < 1 or len(source.output.shape) != 3:
        raise Unreadable(f"stride {stride}; positive ones of images are supported")
    front, ends = [], []
    for out, s, k, size in zip((height, width), stride, kernel, source.output.shape, strict=False):
        total = max((-(-out // s) - 1) * s + k - out, 0) if op.option(0, "b") == SAME else 0
        front.append(total // 2)
        ends.append((size - 1) * s + k - total // 2 - out)
        if out + total // 2 > (size - 1) * s + k:
            raise Unreadable(
                f"{out} positions from {size}; up to (size - 1) * stride + kernel are supported;"
                " pad behind it"
            )
    bias = read_bias(b, op, channels, 3)
    scales = b.tensor(op.inputs[1]).scale
    factors = layer_factors(source.output.scale, scales, scale, channels, linear=False)
    if not b.exact:
        turned = Weights(np.ascontiguousarray(weights.codes[:, ::-1, ::-1]), weights.bits, 1,
                         weights.offset)  # fmt: skip
        pads = [k - 1 - cut for k, cut in zip(kernel * 2, (*front, *ends), strict=True)]
        if min(pads) < 0:
            raise Unreadable(f"a crop of {front} and {ends} beyond the kernel {kernel}")
        flat = turned.values.reshape(channels, -1)
        rule = snap(factors, factors * (bias - source.output.zero * flat.sum(axis=1)),
                    *accumulator_bounds(turned.values, source.output.type), zero=zero, lo=lo,
                    hi=hi, name=tensor.name)  # fmt: skip
        window = Window(kernel, pad=(pads[0], pads[1], pads[2], pads[3]))
        b.add(op, ConvTranspose2d(turned, rule, type_, window, stride, 1, source.output.zero),
              (source,))  # fmt: skip
        return
    phases, window = _phases(values.astype(np.int64), stride, source.output.shape,
                             (height + front[0], width + front[1]))  # fmt: skip
    count = stride[0] * stride[1]
    sums = phases.reshape(len(phases), -1).sum(axis=1)
    m, shift = (np.tile(part, count) for part in quantize_multipliers(factors))
    exact = TfliteRequant(np.tile(bias, count) - source.output.zero * sums, m, shift, zero, lo, hi,
                          "double")  # fmt: skip
    codes = Weights((phases - weights.offset).astype(np.uint8), weights.bits, 1, weights.offset)
    conv = TfliteConv2d(codes, exact, type_, window, 1, source.output.zero)

    def step(name: str, made: Reshape | Transpose | TfliteConv2d) -> None:
        nonlocal source
        source = b.step(f"{name}_{tensor.index}", made, (source,), scale, zero, tensor.name)

    step("phases", conv)
    rows, columns, _ = source.output.shape
    if count > 1:
        step("apart", Reshape((rows, columns, *stride, channels)))
        step("placed", Transpose((0, 2, 1, 3, 4)))
        step("image", Reshape((rows * stride[0], columns * stride[1], channels)))
    b.add(op, Slice((*front, 0), (height, width, channels), (1, 1, 1)), (source,))


def _phases(
    values: Int64, stride: tuple[int, int], shape: tuple[int, ...], needed: tuple[int, int]
) -> tuple[Int64, Window]:
    """(weights of all phases, the row phase slowest, and the window) of a transposed convolution.

    Position ``a * s + r`` of the result is the sum over j of input ``a - j`` times tap
    ``r + j * s``.
    """
    outputs, rows, columns, depth = values.shape
    taps_ = [-(-k // s) for k, s in zip((rows, columns), stride, strict=True)]
    full = np.zeros((outputs, taps_[0] * stride[0], taps_[1] * stride[1], depth), np.int64)
    full[:, :rows, :columns] = values
    split = full.reshape(outputs, taps_[0], stride[0], taps_[1], stride[1], depth)
    # (row phase, column phase, output, row tap, column tap, input), later taps first
    phases = split.transpose(2, 4, 0, 1, 3, 5)[:, :, :, ::-1, ::-1]
    behind = [
        max(-(-end // s) - size, 0)
        for end, s, size in zip(needed, stride, shape, strict=False)
    ]
    pad = (taps_[0] - 1, taps_[1] - 1, behind[0], behind[1])
    flat = np.ascontiguousarray(phases).reshape(-1, taps_[0], taps_[1], depth)
    return flat, Window((taps_[0], taps_[1]), pad=pad)


UPSAMPLING: dict[str, Callable[[Builder, TfOperator], None]] = {
    "RESIZE_BILINEAR": read_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": read_nearest,
    "TRANSPOSE_CONV": read_transpose_conv,
}
"""How each operator is read, by its name in the schema."""
