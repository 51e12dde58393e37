# SPDX-License-Identifier: Apache-2.0
"""Readers of the ONNX operators that only move values, and of softmax and argmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ops.pad import Pad
from ..ops.slice import Slice
from .onnx_constants import attr_or_input, constant_result
from .onnx_file import OnnxNode
from .onnx_layout import Layout, Shape
from .onnx_quantizers import joined, one_row
from .onnx_resize import read_argmax, read_resize, read_softmax
from .onnx_values import Codes, Const, FloatInput, Join, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder

FLOATS = (1, 10, 11, 16)
"""ONNX's numbers of float, float16, double and bfloat16."""
Reader = Callable[["Builder", OnnxNode], "Tensor | tuple[Tensor, ...]"]


def constant_first(read: Reader) -> Reader:
    """A reader that computes the result of constant inputs instead."""

    def reader(b: Builder, node: OnnxNode) -> Tensor | tuple[Tensor, ...]:
        found = constant_result(b, node)
        return read(b, node) if found is None else found

    return reader


def read_same(b: Builder, node: OnnxNode) -> Tensor:
    """Identity, Dropout, and Cast: what a value means stays the same."""
    found = b.active(node)
    if node.op != "Cast" or int(node.attr("to", 1)) in FLOATS:
        return found
    if not isinstance(found, Table) or (found.real != np.rint(found.real)).any():
        raise Unreadable(
            "a Cast of real numbers to integers; whole numbers are supported; use a quantiser"
        )
    return found


def _relaid(b: Builder, t: Table, layout: Layout) -> Table:
    return Table(Codes(t.codes.node, layout), t.real)


def read_transpose(b: Builder, node: OnnxNode) -> Tensor:
    """Transpose: axes are counted in another order, memory stays until someone minds."""
    found = b.active(node)
    rank = len(found.shape) + 1
    axes = [int(v) for v in node.attr("perm", range(rank)[::-1])]
    if axes[:1] != [0] or sorted(axes) != list(range(rank)):
        raise Unreadable(f"perm {axes}; permutations with the batch in front are supported")
    moved = tuple(axis - 1 for axis in axes[1:])
    if isinstance(found, FloatInput):
        return replace(found, layout=found.layout.transposed(moved))
    table = one_row(b.quantised(found))
    return _relaid(b, table, table.codes.layout.transposed(moved))


def read_reshape(b: Builder, node: OnnxNode) -> Tensor:
    """Reshape, Flatten, Squeeze and Unsqueeze that keep the batch axis."""
    table = one_row(b.table(node))
    full = (1, *table.shape)
    wanted = _new_shape(b, node, full)
    if prod(wanted) != prod(full) or wanted[:1] != (1,):
        raise Unreadable(
            f"from shape {full} to {wanted}; shapes of as many elements, with the batch of 1 in"
            " front, are supported; export the model with batch 1"
        )
    layout = table.codes.layout.reshaped(wanted[1:])
    if layout is not None:
        return _relaid(b, table, layout)
    codes = b.in_order(table.codes)
    node_ = b.reshaped(codes.node, wanted[1:])
    return Table(Codes(node_, Layout.plain(wanted[1:])), table.real)


def _new_shape(b: Builder, node: OnnxNode, full: Shape) -> Shape:
    if node.op == "Flatten":
        axis = int(node.attr("axis", 1)) % (len(full) + 1)
        return prod(full[:axis]), prod(full[axis:])
    if node.op == "Reshape":
        sizes = b.integers(node, 1, "a shape")
        if not node.attr("allowzero", 0):
            sizes = [full[i] if v == 0 else v for i, v in enumerate(sizes)]
        known = prod(v for v in sizes if v != -1)
        if -1 in sizes and known and prod(full) % known == 0:
            sizes[sizes.index(-1)] = prod(full) // known
        return tuple(sizes)
    axes = attr_or_input(b, node, "axes", 1)
    if node.op == "Squeeze":
        chosen = range(1, len(full)) if axes is None else [v % len(full) for v in axes]
        return tuple(v for i, v in enumerate(full) if i not in chosen or v != 1)
    rank = len(full) + len(axes or ())
    added = {v % rank for v in axes or ()}
    old = iter(full)
    return tuple(1 if i in added else next(old) for i in range(rank))


def read_concat(b: Builder, node: OnnxNode) -> Tensor:
    """Concat of channels; parts on different grids wait for the quantiser behind."""
    parts = tuple(
        one_row(b.table(node, i)) for i in range(len(node.inputs))
    )
    rank = len(parts[0].shape) + 1
    axis = int(node.attr("axis", 1)) % rank
    if axis != 1 or len({p.shape[1:] for p in parts}) != 1:
        raise Unreadable(
            f"axis {axis} of shapes {[(1, *p.shape) for p in parts]}; channels (axis 1) of equal"
            " maps are supported; transpose before it"
        )
    first = parts[0]
    if all(p.codes.type == first.codes.type and np.array_equal(p.real, first.real) for p in parts):
        table = joined(b, parts)
        return Table(table.codes, first.real)
    return Join(parts, (sum(p.shape[0] for p in parts), *first.shape[1:]))


def _memory(b: Builder, t: Table, per_axis: list[tuple[int, ...]]) -> tuple[Any, list[Any]]:
    """(node channels last, numbers per axis in the node's order) for a moving operator."""
    codes = b.channels_last(t.codes)
    moved = [tuple(v[1:]) + tuple(v[:1]) for v in per_axis]
    if len(t.shape) == 2:  # (1, L, C)
        return codes.node, [(None, *v) for v in moved]
    return codes.node, moved


def read_slice(b: Builder, node: OnnxNode) -> Tensor:
    """Slice with positive steps that keeps the batch."""
    table = one_row(b.table(node))
    full = (1, *table.shape)
    found = [attr_or_input(b, node, name, i + 1) for i, name in
             enumerate(("starts", "ends", "axes", "steps"))]  # fmt: skip
    begins, ends = found[0] or [], found[1] or []
    axes = found[2] if found[2] is not None else list(range(len(begins)))
    steps = found[3] if found[3] is not None else [1] * len(begins)
    parts = [slice(None)] * len(full)
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        if step < 1:
            raise Unreadable(f"a step of {step}; positive steps are supported")
        parts[axis % len(full)] = slice(begin, end, step)
    ranges = [range(*p.indices(size)) for p, size in zip(parts, full, strict=True)]
    if len(ranges[0]) != 1 or min(len(r) for r in ranges) < 1:
        raise Unreadable("a slice of the batch, or an empty one; the other axes are supported")
    return sliced(b, table, ranges[1:])


def sliced(b: Builder, table: Table, ranges: list[range]) -> Table:
    """Part of a tensor; a range per axis."""
    shape = tuple(len(r) for r in ranges)
    if shape == table.shape:
        return table
    node, (start, size, step) = _memory(
        b, table, [tuple(r.start for r in ranges), shape, tuple(r.step for r in ranges)]
    )
    op = Slice(*(tuple(d if v is None else v for v in values)
                 for values, d in ((start, 0), (size, 1), (step, 1))))  # fmt: skip
    return Table(Codes(b.emit(op, (node,)), Layout.canonical(shape)), table.real)


def read_split(b: Builder, node: OnnxNode) -> tuple[Tensor, ...]:
    """Split into parts."""
    table = one_row(b.table(node))
    axis = int(node.attr("axis", 0)) % (len(table.shape) + 1) - 1
    if axis < 0:
        raise Unreadable("a split of the batch; the other axes are supported")
    count = len(node.outputs)
    size = table.shape[axis]
    sizes = attr_or_input(b, node, "split", 1)
    if sizes is None:
        chunk = -(-size // count)
        sizes = [min(chunk, size - i * chunk) for i in range(count)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise Unreadable(f"sizes {sizes} of {size}; sizes that add up are supported")
    results, at = [], 0
    for part in sizes:
        ranges = [range(v) for v in table.shape]
        ranges[axis] = range(at, at + part)
        results.append(sliced(b, table, ranges))
        at += part
    return tuple(results)


def read_pad(b: Builder, node: OnnxNode) -> Tensor:
    """Pad with a constant that the grid holds."""
    table = one_row(b.table(node))
    mode = str(node.attr("mode", "constant"))
    if mode != "constant":
        raise Unreadable(f"mode {mode}; constant is supported; pad with zeros")
    pads = attr_or_input(b, node, "pads", 1) or []
    value = float(node.attr("value", 0.0))
    if node.has(2):
        value = float(b.const(node, 2, "a border").reals.reshape(()))
    rank = len(table.shape) + 1
    axes = [v % rank for v in b.integers(node, 3, "axes")] if node.has(3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for axis, low, high in zip(axes, pads, pads[len(axes) :], strict=False):
        before[axis], after[axis] = low, high
    if len(pads) != 2 * len(axes) or before[0] or after[0] or min(*before, *after) < 0:
        raise Unreadable(f"pads {pads}; two numbers from 0 for every axis but the batch are"
                         " supported; crop with Slice")  # fmt: skip
    row = table.real[0]
    at = int(np.abs(row - value).argmin())
    if abs(row[at] - value) > 1e-5 * max(abs(value), float(np.abs(row).max())):
        raise Unreadable(
            f"a border of {value:g}, which is no value of the input's grid (nearest"
            f" {row[at]:g}); values of the grid are supported; pad with the real 0"
        )
    source, (low_, high_) = _memory(b, table, [tuple(before[1:]), tuple(after[1:])])
    code = at + table.codes.type.lo
    op = Pad(tuple(v or 0 for v in low_), tuple(v or 0 for v in high_), code)
    shape = tuple(v + x + y for v, x, y in zip(table.shape, before[1:], after[1:], strict=True))
    return Table(Codes(b.emit(op, (source,)), Layout.canonical(shape)), table.real)


def read_shape(b: Builder, node: OnnxNode) -> Tensor:
    """Shape of a tensor, whose sizes are static here."""
    found = b.tensor(node)
    full = found.data.shape if isinstance(found, Const) else (1, *found.shape)
    part = full[node.attr("start", 0) : node.attr("end", len(full))]
    return Const(np.asarray(part, np.int64))


MOVES: dict[str, Reader] = {
    "ArgMax": read_argmax, "Cast": read_same, "Concat": read_concat, "Dropout": read_same,
    "Flatten": read_reshape, "Identity": read_same, "Pad": read_pad, "Reshape": read_reshape,
    "Resize": read_resize, "Shape": read_shape, "Slice": read_slice, "Softmax": read_softmax,
    "Split": read_split, "Squeeze": read_reshape, "Transpose": read_transpose,
    "Unsqueeze": read_reshape, "Upsample": read_resize,
}  # fmt: skip
"""How each operator is read, by its ONNX name."""
