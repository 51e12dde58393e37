# SPDX-License-Identifier: Apache-2.0
"""Readers of ONNX's Resize, and of what ends a classifier: Softmax and ArgMax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Node
from ..ops.argmax import ArgMax
from ..ops.base import TensorInfo
from ..ops.softmax import Softmax
from ..ops.upsample import UpsampleBilinear, UpsampleNearest, denominators, taps
from .onnx_file import OnnxNode
from .onnx_layout import Layout, Shape
from .onnx_quantizers import as_codes, one_row, regridded
from .onnx_values import Codes, Pending, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder


def read_resize(b: Builder, node: OnnxNode) -> Tensor:
    """Resize (and Upsample) of images and sequences, where the graph has the same positions."""
    table = one_row(b.table(node))
    mode = str(node.attr("mode", "nearest"))
    full = (1, *table.shape)
    if mode not in ("nearest", "linear") or len(full) not in (3, 4) or node.attr("antialias", 0):
        raise Unreadable(
            f"mode {mode}{' with antialias' * bool(node.attr('antialias', 0))} of shape {full};"
            " nearest and linear of (1, C, H, W) and (1, C, L) are supported; use linear"
        )
    sizes, factors = _sizes(b, node, full)
    inside = len(sizes) == len(full) and 1 <= min(sizes) and max(sizes) < 1 << 15
    if not inside or tuple(sizes[:2]) != full[:2]:
        raise Unreadable(f"sizes {sizes} of {full}; height and width may change, below 32768")
    how = str(node.attr("coordinate_transformation_mode", "half_pixel"))
    rounding = str(node.attr("nearest_mode", "round_prefer_floor"))
    if node.op == "Upsample":
        how, rounding = "asymmetric", "floor"
    size = (sizes[-2], sizes[-1]) if len(full) == 4 else (1, sizes[-1])
    axes = list(zip(full[2:], sizes[2:], factors[2:], strict=True))
    source = b.channels_last(table.codes).node
    if mode == "linear":
        return _linear(b, table, source, size, axes, how)
    for length, out, factor in axes:
        if not np.array_equal(
            _rounded(_positions(length, out, factor, how), length, rounding),
            np.arange(out) * length // out,
        ):
            raise Unreadable(
                f"from {length} to {out} with {how} and {rounding}; whole factors, or asymmetric"
                " with floor, are supported"
            )
    made = b.emit(UpsampleNearest(size), (source,))
    return Table(Codes(made, Layout.canonical((full[1], *sizes[2:]))), table.real)


def _sizes(b: Builder, node: OnnxNode, full: Shape) -> tuple[list[int], list[float]]:
    """(sizes, factors) of every axis."""
    policy = str(node.attr("keep_aspect_ratio_policy", "stretch"))
    if policy != "stretch":
        raise Unreadable(f"keep_aspect_ratio_policy {policy}; stretch is supported")
    axes = [int(a) % len(full) for a in node.attr("axes", [])] or list(range(len(full)))
    sizes, factors = list(full), [1.0] * len(full)
    if node.has(3):
        given = [float(v) for v in b.integers(node, 3, "sizes")]
    else:
        last = 1 if node.op == "Upsample" else 2
        given = b.const(node, last, "factors").reals.reshape(-1).tolist()
    if len(given) != len(axes):
        raise Unreadable(f"{len(given)} sizes for {len(axes)} axes; one for each is supported")
    for axis, value in zip(axes, given, strict=True):
        if node.has(3):
            sizes[axis], factors[axis] = int(value), value / full[axis]
        else:
            sizes[axis], factors[axis] = int(np.floor(full[axis] * value)), float(value)
    return sizes, factors


def _linear(
    b: Builder, table: Table, source: Node, size: tuple[int, int],
    axes: list[tuple[int, int, float]], how: str,
) -> Pending:  # fmt: skip
    """A linear resize, which the quantiser behind it finishes."""
    line = table.line()
    if line is None:
        table = regridded(b, table)
        line, source = table.line(), b.channels_last(table.codes).node
    assert line is not None
    shape = source.output.shape
    for corners in (False, True):
        if all(_same(length, out, factor, how, corners) for length, out, factor in axes):
            break
    else:
        raise Unreadable(
            f"from {[a[0] for a in axes]} to {[a[1] for a in axes]} with {how}; the positions of"
            " half_pixel (sizes, or factors that fit) and align_corners are supported"
        )
    count = denominators(shape, size, corners)
    low, high = (
        np.array([count * end], np.int64) for end in (table.codes.type.lo, table.codes.type.hi)
    )
    return Pending(
        "a linear resize",
        lambda rule, type_: UpsampleBilinear(size, int(corners), rule, type_), (source,),
        (shape[2], *size) if len(axes) == 2 else (shape[2], size[1]),
        np.array([line[0] / count]), np.array([line[1]]), low, high,
    )  # fmt: skip


def _same(length: int, out: int, factor: float, how: str, corners: bool) -> bool:
    """Whether the graph's operator reads an axis at ONNX's positions."""
    low, _, weight, denominator = taps(length, out, corners)
    found = np.minimum(low + weight / denominator, length - 1)
    wanted = np.clip(_positions(length, out, factor, how), 0, length - 1)
    return bool((np.abs(found - wanted) < 1e-6).all())  # false for an unknown mode (nan)


def _positions(size: int, out: int, factor: float, how: str) -> Any:
    """Real positions in the input; nan for an unknown mode."""
    i = np.arange(out, dtype=np.float64)
    return {
        "asymmetric": i / factor,
        "half_pixel": (i + 0.5) / factor - 0.5,
        "pytorch_half_pixel": (i + 0.5) / factor - 0.5 if out > 1 else i * 0,
        "align_corners": i * (size - 1) / max(out - 1, 1),
    }.get(how, i * np.nan)


def _rounded(x: Any, size: int, rounding: str) -> Any:
    whole = {
        "round_prefer_floor": np.ceil(x - 0.5), "round_prefer_ceil": np.floor(x + 0.5),
        "floor": np.floor(x), "ceil": np.ceil(x),
    }.get(rounding, x * np.nan)  # fmt: skip
    return np.clip(whole, 0, size - 1)


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
