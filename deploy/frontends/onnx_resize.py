# SPDX-License-Identifier: Apache-2.0
"""Readers of ONNX's Resize, and of what ends a classifier: Softmax and ArgMax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..ops.argmax import ArgMax
from ..ops.base import TensorInfo
from ..ops.softmax import Softmax
from ..ops.upsample import UpsampleNearest
from .onnx_file import OnnxNode
from .onnx_layout import Layout
from .onnx_quantizers import as_codes, one_row, regridded
from .onnx_values import Codes, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder


def read_resize(b: Builder, node: OnnxNode) -> Tensor:
    """Resize (and Upsample) by nearest neighbours where they are those of the graph."""
    table = one_row(b.table(node))
    mode = str(node.attr("mode", "nearest"))
    full = (1, *table.shape)
    if mode != "nearest" or len(full) != 4:
        raise Unreadable(
            f"mode {mode} of shape {full}; nearest of images (1, C, H, W) is supported; use nearest"
        )
    last = 1 if node.op == "Upsample" else 2
    if node.has(3):
        sizes = b.integers(node, 3, "sizes")
        factors = [s / v for s, v in zip(sizes, full, strict=True)]
    else:
        factors = [float(v) for v in b.const(node, last, "factors").reals.reshape(-1)]
        sizes = [int(np.floor(v * f)) for v, f in zip(full, factors, strict=True)]
    inside = len(sizes) == 4 and 1 <= min(sizes) and max(sizes) < 1 << 15
    if not inside or tuple(sizes[:2]) != full[:2]:
        raise Unreadable(f"sizes {sizes} of {full}; height and width may change, below 32768")
    how = str(node.attr("coordinate_transformation_mode", "half_pixel"))
    rounding = str(node.attr("nearest_mode", "round_prefer_floor"))
    if node.op == "Upsample":
        how, rounding = "asymmetric", "floor"
    for size, out, factor in zip(full[2:], sizes[2:], factors[2:], strict=True):
        if not np.array_equal(
            _positions(size, out, factor, how, rounding), np.arange(out) * size // out
        ):
            raise Unreadable(
                f"from {size} to {out} with {how} and {rounding}; whole factors, or asymmetric with"
                " floor, are supported"
            )
    op = UpsampleNearest((sizes[2], sizes[3]))
    made = b.emit(op, (b.channels_last(table.codes).node,))
    return Table(Codes(made, Layout.canonical((full[1], *sizes[2:]))), table.real)


def _positions(size: int, out: int, factor: float, how: str, rounding: str) -> Any:
    i = np.arange(out, dtype=np.float64)
    x = {
        "asymmetric": i / factor,
        "half_pixel": (i + 0.5) / factor - 0.5,
        "pytorch_half_pixel": (i + 0.5) / factor - 0.5 if out > 1 else i * 0,
        "align_corners": i * (size - 1) / max(out - 1, 1),
    }.get(how, i * np.nan)
    rounded = {
        "round_prefer_floor": np.ceil(x - 0.5), "round_prefer_ceil": np.floor(x + 0.5),
        "floor": np.floor(x), "ceil": np.ceil(x),
    }.get(rounding, x * np.nan)  # fmt: skip
    return np.clip(rounded, 0, size - 1)


def read_softmax(b: Builder, node: OnnxNode) -> Tensor:
    """Softmax over channels, in whole numbers of 8 bits."""
    table = regridded(b, b.table(node))
    line = table.line()
    axis = int(node.attr("axis", -1 if b.model.opset >= 13 else 1)) % (len(table.shape) + 1)
    if axis != 1 or line is None:
        raise Unreadable(f"a softmax over axis {axis}; channels (axis 1) are supported")
    codes = b.channels_last(table.codes)
    info = TensorInfo(codes.node.output.shape, codes.type, line[0])
    made = b.emit(Softmax.of(info), (codes.node,), scale=1 / 256, zero=0)
    result = as_codes(made, codes.layout)
    return Table(result.codes, result.real / 256)


def read_argmax(b: Builder, node: OnnxNode) -> Tensor:
    """ArgMax over channels: the first of the largest."""
    table = b.table(node)
    if not table.rising() or (np.diff(table.real[0]) == 0).any():
        table = regridded(b, table)
    axis = int(node.attr("axis", 0)) % (len(table.shape) + 1)
    if axis != 1 or node.attr("select_last_index", 0):
        raise Unreadable(
            f"an argmax over axis {axis}, or the last of equal ones; the first over the channels"
            " (axis 1) is supported"
        )
    made = b.emit(ArgMax(), (b.channels_last(table.codes).node,), scale=1.0, zero=0)
    shape = (1, *table.shape[1:]) if node.attr("keepdims", 1) else table.shape[1:]
    if shape == table.shape[1:] and len(shape) > 1:
        return as_codes(b.reshaped(made, shape), Layout.plain(shape))
    return as_codes(made, Layout.canonical(shape))
