# SPDX-License-Identifier: Apache-2.0
"""Putting tensors on a grid: the one place where unfinished sums become graph operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from ..ops.add import Add
from ..ops.concat import Concat
from ..ops.lookup import Lookup
from ..requant import Float64, Int64, snap, snap_add
from ..types import IntType
from .onnx_input import make_input
from .onnx_layout import Layout
from .onnx_values import Active, Codes, FloatInput, Floored, Join, Sum, Table, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder

ROUNDINGS: dict[str, Callable[[Float64], Float64]] = {
    "ROUND": np.rint, "HALF_EVEN": np.rint, "CEIL": np.ceil, "FLOOR": np.floor,
    "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)), "DOWN": np.trunc, "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
    "HALF_DOWN": lambda v: np.sign(v) * np.ceil(np.abs(v) - 0.5),
}  # fmt: skip
"""Rounding modes of QONNX; the halves differ in ties only."""
NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN")
EXACT = 1e-6
"""Relative difference of real numbers that float32 cannot tell apart."""


def code_type(bits: int, signed: bool) -> IntType:
    """The type of activation codes.

    Raises:
        Unreadable: a width that activations cannot have.
    """
    if not 1 <= bits <= 8:
        raise Unreadable(
            f"{bits}-bit activations; 1 to 8 bits are supported; quantise them to 8 bits"
        )
    return IntType(bits, signed)


def quantise(
    b: Builder, t: Active, scale: float, zero: int, type_: IntType,
    limits: tuple[int, int] | None = None, mode: str = "ROUND",
) -> Table:  # fmt: skip
    """Codes ``clamp(round(real / scale) + zero)`` of a tensor; their values are the codes.

    Args:
        b: the importer.
        t: the tensor.
        scale: real size of a code, positive.
        zero: code of the real 0.
        type_: of the codes.
        limits: smallest and largest code, where they are not the type's.
        mode: a name in `ROUNDINGS`.

    Raises:
        Unreadable: a scale or mode that cannot be expressed.
        UnsupportedError: ratios that the requantisation rule cannot express.
    """
    lo, hi = limits or (type_.lo, type_.hi)
    if not (np.isfinite(scale) and scale > 0):
        raise Unreadable(f"scale {scale}; positive finite scales are supported; calibrate again")
    if mode not in ROUNDINGS:
        raise Unreadable(
            f"rounding mode {mode}; {', '.join(ROUNDINGS)} are supported; use ROUND"
        )
    if isinstance(t, Table):
        return _from_table(b, t, scale, zero, type_, (lo, hi), mode)
    if mode not in NEAREST and not (mode == "FLOOR" or (mode in ROUNDS_DOWN and lo >= zero)):
        raise Unreadable(
            f"rounding mode {mode} behind {type(t).__name__.lower()}; ROUND and FLOOR are supported"
            " behind layers; use ROUND"
        )
    half = 0.0 if mode in NEAREST else -0.5
    if isinstance(t, FloatInput):
        if half or (lo, hi) != (type_.lo, type_.hi):
            raise Unreadable(
                f"rounding mode {mode} or codes {lo}..{hi} at the input; ROUND and the whole range"
                f" of {type_} are supported there; quantise the input with Quant of narrow 0"
            )
        return make_input(b, t, type_, scale, zero)
    if isinstance(t, Floored):
        return _finished(b, t, scale, zero, type_, (lo, hi))
    if isinstance(t, Join):
        parts = tuple(quantise(b, p, scale, zero, type_, (lo, hi), mode) for p in t.parts)
        return joined(b, parts)
    ends = [float(np.clip(v / scale + zero, -1e9, 1e9)) for v in t.limits]
    # inside the type a limit of the activation is a code of its own
    lo, hi = max(lo, round(ends[0])), min(hi, round(ends[1]))
    if lo > hi:
        raise Unreadable(
            f"an activation that leaves no code of {type_}; limits inside the quantiser's range"
            " are supported; calibrate again"
        )
    if isinstance(t, Sum):
        return _from_sum(b, t, scale, zero, type_, (lo, hi), half)
    rule = snap(
        t.gain / scale, t.offset / scale + half, t.low, t.high, zero=zero, lo=lo, hi=hi,
        name=b.node.name,
    )  # fmt: skip
    node = b.emit(t.make(rule, type_), t.sources, scale=scale, zero=zero)
    return as_codes(node, Layout.canonical(t.shape))


ROUNDS_DOWN = ("DOWN", "ROUND_TO_ZERO")


def as_codes(node: Node, layout: Layout) -> Table:
    """The tensor whose values are a node's codes."""
    type_ = node.output.type
    return Table(Codes(node, layout), np.arange(type_.lo, type_.hi + 1, dtype=np.float64)[None])


def _from_table(
    b: Builder, t: Table, scale: float, zero: int, type_: IntType, limits: tuple[int, int],
    mode: str,
) -> Table:  # fmt: skip
    # in float32, as ONNX computes it, so that ties fall to the same side
    ratio = t.real.astype(np.float32) / np.float32(scale)
    codes = np.clip(ROUNDINGS[mode](ratio.astype(np.float64)) + zero, *limits).astype(np.int64)
    return looked_up(b, t.codes, codes, type_, scale, zero)


def looked_up(
    b: Builder, codes: Codes, entries: Int64, type_: IntType, scale: float, zero: int
) -> Table:
    """A table of codes, or the codes themselves where it changes nothing."""
    if (entries == entries[0]).all():
        entries = entries[:1]
    same = np.arange(codes.type.lo, codes.type.hi + 1)
    if codes.type == type_ and len(entries) == 1 and np.array_equal(entries[0], same):
        return as_codes(codes.node, codes.layout)
    if len(entries) > 1:
        codes = b.channels_last(codes)
    node = b.emit(Lookup(entries, type_), (codes.node,), scale=scale, zero=zero)
    return as_codes(node, codes.layout)


def _from_sum(
    b: Builder, t: Sum, scale: float, zero: int, type_: IntType, limits: tuple[int, int],
    half: float,
) -> Table:  # fmt: skip
    types = [node.output.type for node in t.sources]
    rule = snap_add(
        [gain / scale for gain in t.gains], [(y.lo, y.hi) for y in types],
        input_zeros=[0] * len(types), zero=zero, lo=limits[0], hi=limits[1],
        name=b.node.name, offset=t.offset / scale + half,
    )  # fmt: skip
    node = b.emit(Add(rule, type_), t.sources, scale=scale, zero=zero)
    return as_codes(node, t.layout)


def _finished(
    b: Builder, t: Floored, scale: float, zero: int, type_: IntType, limits: tuple[int, int]
) -> Table:
    """The last step of an exported requantisation."""
    if scale != 1 or zero != 0:
        raise Unreadable(
            f"scale {scale} and zero point {zero} behind Floor; 1 and 0 are supported there; put"
            " the quantiser in the place of Floor"
        )
    lo, hi = max(t.lo, limits[0]), min(t.hi, limits[1])
    op = t.finish(t.z, int(lo), int(hi), type_)
    node = b.emit(op, t.sources, scale=1.0, zero=0)
    return as_codes(node, t.layout)


def joined(b: Builder, parts: tuple[Table, ...]) -> Table:
    """Channels side by side of codes that mean the same."""
    moved = [b.channels_last(part.codes) for part in parts]
    first = moved[0].node.output
    nodes = []
    for codes in moved:
        info = codes.node.output
        node = codes.node
        if (info.scale, info.zero) != (first.scale, first.zero):
            # the same codes under another description: what they mean is in the tables
            every = np.arange(info.type.lo, info.type.hi + 1)[None]
            table = Lookup(every, info.type)
            node = b.emit(table, (node,), scale=first.scale, zero=first.zero)
        nodes.append(node)
    node = b.emit(Concat(), tuple(nodes))
    shape = moved[0].layout.shape
    channels = sum(codes.layout.shape[0] for codes in moved)
    return as_codes(node, Layout.canonical((channels, *shape[1:])))


def one_row(t: Table) -> Table:
    """A tensor whose table is the same in all channels.

    Raises:
        Unreadable: constants per channel in front, not quantised yet.
    """
    if len(t.real) > 1:
        raise Unreadable(
            "constants per channel without a quantiser behind them; quantised tensors are"
            " supported; put a quantiser in front"
        )
    return t


def regridded(b: Builder, t: Table) -> Table:
    """The tensor on a straight grid: itself, or a table onto the grid of its own codes.

    That serves activations without a quantiser of their own, whose values are all on the grid
    before them (a ReLU).

    Raises:
        Unreadable: values beside the grid.
    """
    line = t.line()
    if line is not None and line[0] != 0:
        return t
    info = t.codes.node.output
    exact = t.real / info.scale + info.zero
    entries = np.clip(np.rint(exact), info.type.lo, info.type.hi)
    if np.abs(entries - exact).max() > EXACT * max(1.0, float(np.abs(exact).max())):
        raise Unreadable(
            "a function of codes arrives here without a quantiser behind it; codes of 1 to 8 bits"
            " are supported; put QuantizeLinear and DequantizeLinear (or Quant) behind the function"
        )
    table = looked_up(b, t.codes, entries.astype(np.int64), info.type, info.scale, info.zero)
    real = (table.real - info.zero) * info.scale
    return Table(table.codes, real)
