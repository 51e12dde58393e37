# SPDX-License-Identifier: Apache-2.0
"""Recognises the requantisation rule as the export writes it: Mul, Add, Mul, Add, Mul, Floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ops.add import Add
from ..ops.requantize import Requantize
from ..requant import AddRequant, Float64, Int64, Requant
from ..types import IntType
from .onnx_file import OnnxNode
from .onnx_layout import Layout
from .onnx_values import Floored, Pending, Step, Sum, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder


def read_floor(b: Builder, node: OnnxNode) -> Tensor:
    """Floor: of codes a table; of a layer the shift of an exported requantisation."""
    found = b.active(node)
    rule = _rule(found.steps) if isinstance(found, Pending | Table) else None
    if isinstance(found, Table):
        codes = found.codes
        base = np.arange(codes.type.lo, codes.type.hi + 1, dtype=np.int64)
        if rule is not None and codes.layout.shape and _tabled(found, rule, base):
            last = b.channels_last(codes)
            layout = Layout.canonical(codes.layout.shape)
            count = last.node.output.shape[-1]
            if last.layout.order == layout.order:
                return Floored(_requantiser(rule, count, Requantize), (last.node,), layout)
        return Table(codes, np.floor(found.real))
    if isinstance(found, Pending) and rule is not None:
        p, bias, m, s = rule
        straight = np.ldexp(1.0, p) * m * np.ldexp(1.0, -s)
        offset = (bias * m + np.ldexp(1.0, s - 1)) * np.ldexp(1.0, -s)
        if np.array_equal(found.gain, np.broadcast_to(straight, found.gain.shape)) and (
            np.array_equal(found.offset, np.broadcast_to(offset, found.offset.shape))
        ):
            finish = _requantiser(rule, len(found.low), found.make)
            return Floored(finish, found.sources, Layout.canonical(found.shape))
    if isinstance(found, Sum):
        made = _sum_rule(found)
        if made is not None:
            return made
    raise Unreadable(
        "Floor of real numbers; the steps of docs/onnx.md that the export writes are supported;"
        " use a quantiser"
    )


def read_round(b: Builder, node: OnnxNode) -> Tensor:
    """Round: of codes a table; nothing behind a sum that is whole already."""
    found = b.active(node)
    if isinstance(found, Table):
        return Table(found.codes, np.rint(found.real))
    if isinstance(found, Pending):
        gain, offset = np.rint(found.gain), np.rint(found.offset)
        near = np.abs(found.gain - gain).max() < 1e-7 and np.abs(found.offset - offset).max() < 1e-7
        if near and not any(np.isfinite(v) for v in found.limits):
            return replace(found, gain=gain, offset=offset, steps=())
    raise Unreadable("Round of real numbers; codes and whole sums are supported; use a quantiser")


Rule = tuple[int, Float64, Float64, Int64]
"""(p, bias, m, s) of the requantisation rule."""


def _rule(steps: tuple[Step, ...]) -> Rule | None:
    """The constants of ``((acc*2^p + bias)*m + 2^(s-1)) * 2^-s``, None where it is no such rule."""
    if tuple(kind for kind, _ in steps[-5:]) != ("mul", "add", "mul", "add", "mul"):
        return None
    shift, bias, m, half, scale = (values for _, values in steps[-5:])
    if (shift <= 0).any() or (scale <= 0).any():
        return None
    p, s = np.log2(shift), -np.log2(scale)
    if shift.size != 1 or (p != np.rint(p)).any() or (s != np.rint(s)).any():
        return None
    if not np.array_equal(half, np.ldexp(1.0, (s - 1).astype(np.int64))):
        return None
    if (bias != np.rint(bias)).any() or (m != np.rint(m)).any():
        return None
    return int(p[0]), bias, m, s.astype(np.int64)


def _tabled(t: Table, rule: Rule, base: Int64) -> bool:
    """Whether the table holds exactly the rule's values before its shift."""
    p, bias, m, s = (np.asarray(v)[..., None] for v in rule)
    exact = ((np.ldexp(1.0, p[0]) * base + bias) * m + np.ldexp(1.0, s - 1)) * np.ldexp(1.0, -s)
    return np.array_equal(np.broadcast_to(exact, (max(len(exact), len(t.real)), len(base))),
                          np.broadcast_to(t.real, (max(len(exact), len(t.real)), len(base))))


def _requantiser(
    rule: Rule, count: int, make: Callable[[Requant, IntType], Any]
) -> Callable[[Int64, int, int, IntType], Any]:
    p, *rest = rule
    bias, m, s = (np.broadcast_to(v, count).astype(np.int64) for v in rest)

    def finish(z: Int64, lo: int, hi: int, type_: IntType) -> Any:
        return make(Requant(p, bias, m, s, np.broadcast_to(z, count).copy(), lo, hi), type_)

    return finish


def _sum_rule(t: Sum) -> Floored | None:
    """An exported sum: whole factors, one constant, one power of two."""
    if tuple(kind for kind, _ in t.steps[-2:]) != ("add", "mul"):
        return None
    constant, scale = (float(values[0]) for _, values in t.steps[-2:])
    if scale <= 0 or t.offset != constant * scale:
        return None
    s = -np.log2(scale)
    m = [g / scale for g in t.gains]
    if s != round(s) or s < 1 or any(v != round(v) for v in (*m, constant)):
        return None
    bias = int(constant) - (1 << (round(s) - 1))

    def finish(z: Int64, lo: int, hi: int, type_: IntType) -> Any:
        factors = tuple(round(v) for v in m)
        return Add(AddRequant(factors, bias, round(s), int(z[0]), lo, hi), type_)

    return Floored(finish, t.sources, t.layout)
