# SPDX-License-Identifier: Apache-2.0
"""Readers of the ONNX operators element by element: sums, products, functions of one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..ops.mul import Mul, product_range
from ..requant import Float64
from .onnx_broadcast import (
    along_channels,
    at_positions,
    common_shape,
    per_channel,
    repeated,
    values_at,
)
from .onnx_file import OnnxNode
from .onnx_functions import FUNCTIONS
from .onnx_layout import Shape
from .onnx_quantizers import regridded
from .onnx_values import (
    Codes,
    Const,
    Floored,
    Pending,
    Sum,
    Table,
    Tensor,
    Unreadable,
    affine,
)

if TYPE_CHECKING:
    from .onnx import Builder


def with_constant(b: Builder, t: Tensor, kind: str, constant: Float64) -> Tensor:
    """A tensor plus or times a constant."""
    if isinstance(t, Floored):
        if kind != "add" or (constant != np.rint(constant)).any():
            raise Unreadable(
                "a constant behind Floor; whole numbers to add are supported there; use a quantiser"
            )
        fits = along_channels(constant, t.shape)
        z = (per_channel if fits else values_at)(constant, t.shape)
        return replace(t, z=t.z + z.astype(np.int64))
    if isinstance(t, Table):
        if not along_channels(constant, t.shape):
            return at_positions(b, t, kind, constant)
        values = per_channel(constant, t.shape)
        codes = t.codes if values.size == 1 else b.channels_last(t.codes)
        column = values[:, None]
        real = t.real * column if kind == "mul" else t.real + column
        return Table(codes, real, (*t.steps, (kind, values)))
    if isinstance(t, Pending) and len(t.gain) == prod(t.shape) > t.shape[0]:
        return affine(t, kind, values_at(constant, t.shape))
    if isinstance(t, Pending | Sum):
        return affine(t, kind, per_channel(constant, t.shape))
    assert not isinstance(t, Const)
    b.quantised(t)  # says what is missing
    raise AssertionError


def read_add(b: Builder, node: OnnxNode) -> Tensor:
    """Add and Sub of tensors or constants."""
    sign = -1.0 if node.op == "Sub" else 1.0
    first, second = b.tensor(node), b.tensor(node, 1)
    if isinstance(second, Const) and not isinstance(first, Const):
        return with_constant(b, first, "add", sign * second.reals)
    if isinstance(first, Const):
        negated = second if sign > 0 else with_constant(b, second, "mul", np.array([-1.0]))
        return with_constant(b, negated, "add", first.reals)
    return added(b, first, second, sign)


def added(b: Builder, first: Tensor, second: Tensor, sign: float) -> Tensor:
    """A sum of two computed tensors."""
    if isinstance(first, Table) and isinstance(second, Table) and _same(first, second):
        return Table(first.codes, first.real + sign * second.real)
    if isinstance(first, Pending) and isinstance(second, Pending) and sign > 0:
        parts = first.part, second.part
        if parts[0] is not None and parts[1] is not None and parts[0].key == parts[1].key:
            return parts[0].build(parts[0].ints + parts[1].ints)
    if isinstance(first, Table) and isinstance(second, Table) and first.shape != second.shape:
        shape = common_shape(first.shape, second.shape)
        first, second = repeated(b, first, shape), repeated(b, second, shape)
    one, other = _as_sum(b, first), _as_sum(b, second)
    if one.shape != other.shape:
        raise Unreadable(
            f"shapes {(1, *one.shape)} and {(1, *other.shape)}, one of them a sum itself; equal"
            " ones, or two quantised tensors, are supported; put a quantiser behind the inner sum"
        )
    if not np.array_equal(one.layout.index(), other.layout.index()):
        one, other = _channels_last(b, one), _channels_last(b, other)
    shape = one.sources[0].output.shape
    sources = tuple(b.reshaped(n, shape) for n in (*one.sources, *other.sources))
    gains = (*one.gains, *(sign * g for g in other.gains))
    return Sum(sources, gains, one.offset + sign * other.offset, one.layout)


def _same(first: Table, second: Table) -> bool:
    return (
        first.codes.node is second.codes.node and first.codes.layout == second.codes.layout
    )


def _as_sum(b: Builder, t: Tensor) -> Sum:
    if isinstance(t, Sum) and not any(np.isfinite(v) for v in t.limits):
        return t
    assert not isinstance(t, Const)
    table, line = None, None
    if not isinstance(t, Sum):
        table = b.quantised(t)
        if table.line() is None:
            table = regridded(b, table)
        line = table.line()
    if table is None or line is None:
        raise Unreadable(
            "an activation of a sum without a quantiser; quantised tensors and plain sums are"
            " supported; put a quantiser behind the activation"
        )
    return Sum((table.codes.node,), (line[0],), line[1], table.codes.layout)


def _channels_last(b: Builder, t: Sum) -> Sum:
    codes = [b.channels_last(Codes(n, t.layout)) for n in t.sources]
    return replace(t, sources=tuple(c.node for c in codes), layout=codes[0].layout)


def read_mul(b: Builder, node: OnnxNode) -> Tensor:
    """Mul, and Div by a constant."""
    first, second = b.tensor(node), b.tensor(node, 1)
    if node.op == "Div":
        if not isinstance(second, Const):
            raise Unreadable(
                "a division by a computed tensor; constants are supported; multiply instead"
            )
        if (second.reals == 0).any():
            raise Unreadable("a division by 0; other constants are supported; export again")
        return with_constant(b, first, "mul", 1 / second.reals)
    if isinstance(second, Const):
        return with_constant(b, first, "mul", second.reals)
    if isinstance(first, Const):
        return with_constant(b, second, "mul", first.reals)
    return multiplied(b, first, second)


def multiplied(b: Builder, first: Tensor, second: Tensor) -> Tensor:
    """A product of two computed tensors; the smaller one may be one value per channel."""
    if isinstance(first, Table) and isinstance(second, Table) and _same(first, second):
        return Table(first.codes, first.real * second.real)
    assert not isinstance(first, Const) and not isinstance(second, Const)
    pair = [regridded(b, b.quantised(t)) for t in (first, second)]
    if prod(pair[1].shape) > prod(pair[0].shape):
        pair.reverse()
    pair[0] = repeated(b, pair[0], common_shape(pair[0].shape, pair[1].shape))
    if not _small(pair[1].shape, pair[0].shape):
        pair[1] = repeated(b, pair[1], pair[0].shape)
    sources, gain, zeros = [], 1.0, []
    for table in pair:
        line = table.line()
        if line is None or line[0] == 0 or abs(line[1] / line[0] - round(line[1] / line[0])) > 1e-4:
            raise Unreadable(
                "a factor whose zero is no code; grids with a whole zero point are supported;"
                " quantise it with Quant or QuantizeLinear"
            )
        gain *= line[0]
        zeros.append(-round(line[1] / line[0]))
        sources.append(b.channels_last(table.codes).node)
    if len(sources[0].output.shape) != len(sources[1].output.shape):
        size = sources[1].output.shape[-1]
        rank = len(sources[0].output.shape)
        sources[1] = b.reshaped(sources[1], (*[1] * (rank - 1), size))
    low, high = product_range([n.output for n in sources], (zeros[0], zeros[1]))
    ends = (np.array([low]), np.array([high]))
    return Pending(
        "a product", lambda rule, type_: Mul((zeros[0], zeros[1]), rule, type_), tuple(sources),
        pair[0].shape, np.array([gain]), np.zeros(1), *ends,
    )  # fmt: skip


def _small(shape: Shape, full: Shape) -> bool:
    """Whether a factor is the tensor's size, or one value per channel, per pixel or in all."""
    return (
        len(shape) != len(full)
        or prod(shape) == 1
        or shape in (full, (full[0], *[1] * (len(full) - 1)), (1, *full[1:]))
    )


def limited(b: Builder, t: Tensor, low: float, high: float) -> Tensor:
    """A tensor kept between two real numbers."""
    if isinstance(t, Table):
        return Table(t.codes, np.clip(t.real, low, high))
    if isinstance(t, Floored):
        return replace(t, lo=max(t.lo, low), hi=min(t.hi, high))
    if isinstance(t, Pending | Sum):
        ends = tuple(float(np.clip(v, low, high)) for v in t.limits)
        bounds = (ends[0], ends[1])
        if isinstance(t, Pending):
            return replace(t, limits=bounds, part=None)
        return replace(t, limits=bounds)
    assert not isinstance(t, Const)
    b.quantised(t)
    raise AssertionError


def read_limit(b: Builder, node: OnnxNode) -> Tensor:
    """Relu and Clip, behind layers or codes."""
    if node.op == "Relu":
        return limited(b, b.active(node), 0.0, np.inf)
    ends = [float(node.attr("min", -np.inf)), float(node.attr("max", np.inf))]
    for i in (0, 1):
        if node.has(i + 1):
            ends[i] = float(b.const(node, i + 1, "a limit").reals.reshape(()))
    if ends[0] > ends[1]:
        raise Unreadable(f"limits {ends}; the lower one must come first; export again")
    return limited(b, b.active(node), ends[0], ends[1])


def read_function(b: Builder, node: OnnxNode) -> Tensor:
    """A function of one value: of codes a table, which the quantiser behind it finishes."""
    found = b.active(node)
    if not isinstance(found, Table):
        b.quantised(found)
    assert isinstance(found, Table)
    return Table(found.codes, np.asarray(FUNCTIONS[node.op](found.real, node), np.float64))


def read_prelu(b: Builder, node: OnnxNode) -> Tensor:
    """PRelu: a slope, or one per channel."""
    found = b.table(node)
    slope = per_channel(b.const(node, 1, "a slope").reals, found.shape)
    codes = found.codes if slope.size == 1 else b.channels_last(found.codes)
    return Table(codes, np.where(found.real >= 0, found.real, slope[:, None] * found.real))


def read_gather(b: Builder, node: OnnxNode) -> Tensor:
    """Gather from a constant vector: a table, as the export writes it."""
    data = b.tensor(node)
    if not isinstance(data, Const) or data.data.ndim != 1 or node.attr("axis", 0) != 0:
        raise Unreadable(
            "a Gather of activations; a constant vector with computed indices is supported; use"
            " Slice"
        )
    index = b.table(node, 1)
    if (index.real != np.rint(index.real)).any() or not (
        -data.data.size <= index.real.min() and index.real.max() < data.data.size
    ):
        raise Unreadable(
            f"indices {index.real.min():g}..{index.real.max():g} of {data.data.size} entries;"
            " whole ones inside are supported"
        )
    return Table(index.codes, data.reals[index.real.astype(np.int64)])


def read_batchnorm(b: Builder, node: OnnxNode) -> Tensor:
    """BatchNormalization: two constants per channel."""
    names = ("a scale", "a bias", "a mean", "a variance")
    gamma, beta, mean, variance = (
        b.const(node, i + 1, name).reals for i, name in enumerate(names)
    )
    deviation = np.sqrt(variance + float(node.attr("epsilon", 1e-5)))
    found = b.active(node)
    factor = gamma / deviation
    shape = (1, -1, *[1] * (len(found.shape) - 1))
    scaled = with_constant(b, found, "mul", factor.reshape(shape))
    return with_constant(b, scaled, "add", (beta - mean * factor).reshape(shape))


ELEMENTWISE: dict[str, Callable[[Builder, OnnxNode], Tensor]] = {
    **dict.fromkeys(FUNCTIONS, read_function),
    "Add": read_add,
    "BatchNormalization": read_batchnorm,
    "Clip": read_limit,
    "Div": read_mul,
    "Gather": read_gather,
    "Mul": read_mul,
    "PRelu": read_prelu,
    "Relu": read_limit,
    "Sub": read_add,
}
"""How each operator is read, by its ONNX name."""

