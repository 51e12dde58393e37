# SPDX-License-Identifier: Apache-2.0
"""Tensors and constants of different shapes: axes of size 1 are repeated."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..ops.concat import Concat
from ..ops.requantize import Requantize
from ..ops.upsample import UpsampleNearest
from ..requant import Float64
from .onnx_layout import Layout, Shape, node_shape
from .onnx_quantizers import regridded
from .onnx_values import Codes, Pending, Table, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder


def per_channel(data: Float64, shape: Shape) -> Float64:
    """A constant as one value, or one per channel, for a tensor of this shape (without batch).

    Raises:
        Unreadable: a constant that varies along another axis.
    """
    if data.size == 1 or (data == data.flat[0]).all():
        return np.asarray([float(data.flat[0])])
    full = (1,) * (len(shape) + 1 - data.ndim) + data.shape
    if len(full) != len(shape) + 1 or prod(full) != full[1] or full[1] != shape[0]:
        raise Unreadable(
            f"a constant of shape {data.shape} with a tensor of shape {(1, *shape)}; one value, or"
            " one per channel, is supported; fold the others"
        )
    return data.reshape(-1).astype(np.float64)


def along_channels(data: Float64, shape: Shape) -> bool:
    """Whether a constant is one value or one per channel."""
    try:
        per_channel(data, shape)
    except Unreadable:
        return False
    return True


def common_shape(first: Shape, second: Shape) -> Shape:
    """Shape of a sum or product, batch axis left out."""
    try:
        return tuple(np.broadcast_shapes(first, second))
    except ValueError as error:
        raise Unreadable(
            f"shapes {(1, *first)} and {(1, *second)}; equal sizes, or 1, are supported; export the"
            " model again"
        ) from error


def repeated(b: Builder, t: Table, shape: Shape) -> Table:
    """A tensor with its axes of size 1 repeated; codes are copied."""
    if t.shape == shape:
        return t
    if len(t.real) > 1:
        t = regridded(b, t)
    codes = b.channels_last(t.codes)
    wanted = node_shape(shape)
    sizes = node_shape((*[1] * (len(shape) - len(t.shape)), *t.shape))
    node = b.reshaped(codes.node, sizes)
    if sizes[:-1] != wanted[:-1]:
        node = b.emit(UpsampleNearest((wanted[0], wanted[1])), (node,))
    if sizes[-1] != wanted[-1]:
        node = b.emit(Concat(), (node,) * wanted[-1])
    return Table(Codes(node, Layout.canonical(shape)), t.real)


def values_at(constant: Float64, shape: Shape) -> Float64:
    """A constant's value for every element of a tensor, in the graph's order."""
    inner = constant.shape[max(constant.ndim - len(shape), 0) :]
    if constant.size != prod(inner) or common_shape(shape, inner) != shape:
        raise Unreadable(
            f"a constant of shape {constant.shape} with a tensor of shape {(1, *shape)}; a result"
            " of the tensor's shape is supported; repeat the tensor before it"
        )
    whole = np.broadcast_to(constant.reshape(inner), shape)
    values: Float64 = whole.reshape(-1)[Layout.canonical(shape).index()].astype(np.float64)
    return values


def at_positions(b: Builder, t: Table, kind: str, constant: Float64) -> Pending:
    """Codes times or plus a constant that differs from position to position.

    The quantiser behind it makes it a requantisation with constants for every element.
    """
    values = values_at(constant, t.shape)
    t = regridded(b, t)
    line = t.line()
    if line is None:
        raise Unreadable(
            "a constant for every position behind a function that is not quantised; codes on a"
            " straight grid are supported; put a quantiser between them"
        )
    codes = b.channels_last(t.codes)
    ones, (gain, offset) = np.ones(len(values)), line
    low, high = (np.full(len(values), end, np.int64) for end in (codes.type.lo, codes.type.hi))
    flat = b.reshaped(codes.node, (len(values),))
    return Pending(
        f"{kind} by a constant for every position",
        lambda rule, type_: Requantize(rule, type_), (flat,), t.shape,
        gain * (values if kind == "mul" else ones),
        offset * values if kind == "mul" else offset + values, low, high,
        steps=(*t.steps, (kind, values)),
    )  # fmt: skip
