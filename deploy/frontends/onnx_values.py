# SPDX-License-Identifier: Apache-2.0
"""What an ONNX tensor is while it is read: constants, functions of codes, and unfinished sums.

ONNX models compute with real numbers between their quantisers. Here a real tensor is never
computed; it is kept as what the integers in front of it make of it (`Table`), or as a linear
function of an accumulator that its quantiser will finish (`Pending`, `Sum`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import Node
from ..ops.base import Op
from ..requant import Float64, Int64, Requant
from ..types import IntType
from .onnx_layout import Layout, Shape

Step = tuple[str, Float64]
"""``("mul" or "add", constant)``, applied after the accumulator."""


class Unreadable(Exception):
    """``found; supported; what to do`` of one node; collected by the importer."""


class Skipped(Unreadable):
    """A node that fails because one before it did, which was reported."""


@dataclass(frozen=True, eq=False)
class Const:
    """A constant, with its integers where a quantiser made it.

    Attributes:
        data: the values.
        ints: whole numbers with ``data = ints * scale``.
        scale: of the same rank as ``data``, size 1 where it does not vary.
        grid: (bits, step, offset) of the weights, where all share one.
    """

    data: NDArray[Any]
    ints: Int64 | None = None
    scale: Float64 | None = None
    grid: tuple[int, int, int] | None = None

    @property
    def reals(self) -> Float64:
        """The values in float64."""
        return np.asarray(self.data, np.float64)


@dataclass(frozen=True, eq=False)
class FloatInput:
    """The network's real input before its quantiser.

    Attributes:
        name: in the file.
        declared: its shape there, batch left out.
        last: whether its channels are last there.
        layout: how it is counted here.
    """

    name: str
    declared: Shape
    last: bool
    layout: Layout

    @property
    def shape(self) -> Shape:
        """Sizes as they are counted here."""
        return self.layout.shape


@dataclass(frozen=True, eq=False)
class Codes:
    """A node's tensor and where ONNX's elements lie in it."""

    node: Node
    layout: Layout

    @property
    def type(self) -> IntType:
        """Type of the codes."""
        return self.node.output.type


@dataclass(frozen=True, eq=False)
class Table:
    """A real (or integer) tensor that is a function of codes.

    Attributes:
        codes: the integers.
        real: float64 ``[1 or C, 2^bits]``, the value of every code from the lowest upwards; one row
            per channel only where channels are last in memory.
        steps: constants applied since the codes were made.
    """

    codes: Codes
    real: Float64
    steps: tuple[Step, ...] = ()

    @property
    def shape(self) -> Shape:
        """Sizes as ONNX counts them, batch axis left out."""
        return self.codes.layout.shape

    def line(self) -> tuple[float, float] | None:
        """(a, c) where every value is ``a*code + c``, None elsewhere."""
        if len(self.real) > 1:
            return None
        row, low = self.real[0], self.codes.type.lo
        a = float(row[-1] - row[0]) / (len(row) - 1)
        fit = row[0] + a * np.arange(len(row))
        if np.abs(fit - row).max() > 1e-6 * np.abs(row).max():
            return None
        c = float(row[0]) - a * low
        return a, c

    def rising(self) -> bool:
        """Whether a larger code never means a smaller value, the same in all channels."""
        return len(self.real) == 1 and bool((np.diff(self.real[0]) >= 0).all())


@dataclass(frozen=True, eq=False)
class Pending:
    """``limit(gain*acc + offset)`` of an accumulator whose quantiser has not come yet.

    Attributes:
        what: the operator, for messages.
        make: builds the graph operator from its constants and the type of its result.
        sources: nodes it reads.
        shape: of the result, as ONNX counts it; in memory channels are last.
        gain: ``[C]`` or ``[1]``.
        offset: of the same length.
        low: proven smallest accumulator, same length.
        high: proven largest accumulator, same length.
        limits: real limits of an activation behind it.
        steps: constants applied since the accumulator.
        part: what it takes to add the weights of a second layer like this one.
    """

    what: str
    make: Callable[[Requant, IntType], Op]
    sources: tuple[Node, ...]
    shape: Shape
    gain: Float64
    offset: Float64
    low: Int64
    high: Int64
    limits: tuple[float, float] = (-np.inf, np.inf)
    steps: tuple[Step, ...] = ()
    part: Part | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """A layer before anything is done with its sums.

    Attributes:
        key: equal for layers that read the same tensor in the same way.
        ints: whole weights.
        build: the layer with other weights.
    """

    key: tuple[object, ...]
    ints: Int64
    build: Callable[[Int64], Pending]


@dataclass(frozen=True, eq=False)
class Sum:
    """``limit(sum of gain*code + offset)`` of several tensors, not quantised yet."""

    sources: tuple[Node, ...]
    gains: tuple[float, ...]
    offset: float
    layout: Layout
    limits: tuple[float, float] = (-np.inf, np.inf)
    steps: tuple[Step, ...] = ()

    @property
    def shape(self) -> Shape:
        """Sizes as ONNX counts them."""
        return self.layout.shape


@dataclass(frozen=True, eq=False)
class Join:
    """Channels of several tensors, to be put on one grid by the quantiser behind them."""

    parts: tuple[Table, ...]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Floored:
    """An exported requantisation after its shift: the last constants are still to come.

    Attributes:
        finish: builds the operator from (zero points, lo, hi, type of the result).
        sources: nodes it reads.
        layout: of the result.
        z: added after the shift.
        lo: smallest code so far.
        hi: largest code so far.
    """

    finish: Callable[[Int64, int, int, IntType], Op]
    sources: tuple[Node, ...]
    layout: Layout
    z: Int64 = field(default_factory=lambda: np.zeros(1, np.int64))
    lo: float = -np.inf
    hi: float = np.inf

    @property
    def shape(self) -> Shape:
        """Sizes as ONNX counts them."""
        return self.layout.shape


Active = FloatInput | Table | Pending | Sum | Join | Floored
Tensor = Const | Active


def affine(t: Pending | Sum, kind: str, constant: Float64) -> Pending | Sum:
    """A sum times or plus a constant (per channel, or one).

    Raises:
        Unreadable: a product behind an activation, or channels apart in one accumulator.
    """
    limited = any(np.isfinite(v) for v in t.limits)
    if limited and not (kind == "mul" and constant.size == 1 and constant[0] > 0):
        raise Unreadable(
            "a constant behind an activation that is not quantised; constants directly behind the"
            " layer are supported; put a quantiser behind the activation"
        )
    if constant.size > 1 and (constant == constant[0]).all():
        constant = constant[:1]
    steps = (*t.steps, (kind, constant))
    if limited:
        low, high = (v * float(constant[0]) for v in t.limits)
        t = replace(t, limits=(low, high))
    if isinstance(t, Sum):
        if constant.size > 1:
            raise Unreadable(
                "a constant per channel behind a sum of tensors; one constant is supported; put a"
                " quantiser between them"
            )
        value = float(constant[0])
        if kind == "add":
            return replace(t, offset=t.offset + value, steps=steps)
        gains = tuple(g * value for g in t.gains)
        return replace(t, gains=gains, offset=t.offset * value, steps=steps)
    if constant.size > 1 and constant.size != len(t.gain):
        raise Unreadable(
            f"{constant.size} constants behind {t.what}, which shares one among {len(t.gain)}"
            " channels; one constant is supported there; put a quantiser between them"
        )
    if kind == "add":
        return replace(t, offset=t.offset + constant, steps=steps, part=None)
    return replace(
        t, gain=t.gain * constant, offset=t.offset * constant, steps=steps, part=None
    )
