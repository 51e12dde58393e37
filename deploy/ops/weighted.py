# SPDX-License-Identifier: Apache-2.0
"""Weights as unsigned codes with an integer meaning, and what all weighted operators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..pack import code_expressions, pack_rows
from ..requant import Exact, Int64, Requant
from ..types import IntArray, IntType
from .base import Bound, CArray, Helper, Op, TensorInfo, need

FLOAT32_EXACT = 1 << 24
"""Integers up to here are exact in float32, so smaller sums may use the faster BLAS."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Unsigned codes ``q`` of ``bits`` bits that mean ``step*q + offset``.

    Attributes:
        codes: uint8, output channels first: OHWI for convolutions, OI for linear.
        bits: 1..8.
        step: 1, or 2 on the zero-free grids (DoReFa, binary).
        offset: added to ``step*q``.
    """

    codes: NDArray[np.uint8]
    bits: int
    step: int
    offset: int

    @property
    def values(self) -> Int64:
        """The integers the codes mean, int64, same shape."""
        return self.step * self.codes.astype(np.int64) + self.offset

    @property
    def narrow(self) -> NDArray[np.int16]:
        """The same as `values` in the smallest dtype that holds all: large networks are costly."""
        return (self.step * self.codes.astype(np.int16) + self.offset).astype(np.int16, copy=False)

    def rows(self) -> NDArray[np.uint8]:
        """Codes as ``[output channels, weights of one output]``."""
        return self.codes.reshape(self.codes.shape[0], -1)

    def packed(self) -> CArray:
        """The packed array of the emitted file."""
        data = pack_rows(self.rows(), self.bits)
        note = (
            f"{self.codes.shape[0]} rows of {self.rows().shape[1]} codes, {self.bits} bits each,"
            f" 8 codes in {self.bits} bytes, first code lowest; weight = {self.step}*code"
            f" {'-' if self.offset < 0 else '+'} {abs(self.offset)}"
        )
        return CArray("w", "uint8_t", tuple(int(v) for v in data.reshape(-1)), note)

    def dot_tag(self, type_: IntType, wide: bool = False) -> str:
        """End of the name of the packed dot product."""
        size = "" if type_.bytes_ == 1 else str(type_.container_bits)
        return f"w{self.bits}{'s' if type_.signed else 'u'}{size}{'_wide' if wide else ''}"

    def dot_helper(self, type_: IntType, wide: bool = False) -> Helper:
        """The shared packed dot product this layer calls; its sum has 64 bits where ``wide``."""
        return (
            "dot",
            (
                ("bits", self.bits),
                ("act", type_.c_name),
                ("tag", self.dot_tag(type_, wide)),
                ("codes", tuple(code_expressions(self.bits, "w"))),
                *((("acc", "int64_t"),) if wide else ()),
            ),
        )

    def bounds(self, type_: IntType) -> list[Bound]:
        """Partial sums and accumulator of the emitted products, for inputs of a type."""
        reach = max(abs(type_.lo), abs(type_.hi))
        rows = self.rows().astype(np.int64)
        low, high = accumulator_bounds(self.values, type_)
        return [
            Bound("sum of code products", self.step * int(rows.sum(1).max()) * reach),
            Bound("offset times sum of inputs", abs(self.offset) * rows.shape[1] * reach),
            Bound("accumulator", int(max(np.abs(low).max(), np.abs(high).max()))),
        ]

    def problems(self) -> list[str]:
        """What is wrong with the codes, in words."""
        found = []
        if not 1 <= self.bits <= 8:
            found.append(f"{self.bits}-bit weights; 1 to 8 bits are supported")
        elif int(self.codes.max(initial=0)) >> self.bits:
            found.append(f"a weight code above {(1 << self.bits) - 1}, too large for its bits")
        if self.step not in (1, 2):
            found.append(f"weight step {self.step}; 1 and 2 are supported")
        return found


class CodedOp(Op):
    """An operator with weights, whatever turns its sums into codes."""

    weights: Weights

    @property
    def weight_bits(self) -> int:
        """Bits of one weight code."""
        return self.weights.bits

    @property
    def weight_count(self) -> int:
        """Number of weights."""
        return int(self.weights.codes.size)


@dataclass(frozen=True, eq=False)
class WeightedOp(CodedOp):
    """An operator with weights, an int32 accumulator per output channel and a requantiser.

    Attributes:
        weights: the codes.
        requant: constants per output channel.
        out_type: type of the output codes.
    """

    weights: Weights
    requant: Requant
    out_type: IntType
    kind: ClassVar[str] = ""

    def accumulator(self, input_type: IntType) -> tuple[Int64, Int64]:
        """Proven (lowest, highest) accumulator of each output channel, from the real weights."""
        return accumulator_bounds(self.weights.values, input_type)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """Every int32 the emitted code forms, at its worst."""
        low, high = self.accumulator(inputs[0].type)
        return [
            *self.weights.bounds(inputs[0].type),
            Bound("shifted accumulator with bias", self.requant.t_bound(low, high)),
        ]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Broken rules of weights and requantiser."""
        return self.weights.problems() + requant_problems(self.requant, self.out_type)

    def proof(self, inputs: Sequence[TensorInfo]) -> tuple[str, ...]:
        """The bounds as comment lines."""
        return tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs))


def accumulator_bounds(values: Int64, input_type: IntType) -> tuple[Int64, Int64]:
    """(lowest, highest) of ``sum(w*a)`` per first axis of ``values``, for any inputs in range."""
    rows = values.reshape(values.shape[0], -1)
    ends = np.stack([rows * input_type.lo, rows * input_type.hi])
    return ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)


def exact_dtype(reach: int) -> type[np.floating[Any]]:
    """The floating-point dtype in which sums up to ``reach`` are exact: float32 below 2^24."""
    return np.float32 if reach < FLOAT32_EXACT else np.float64


def exact_matmul(columns: IntArray, values: IntArray, reach: int) -> Exact:
    """``columns @ values.T`` in floating-point BLAS, exact because every sum stays representable.

    Args:
        columns: ``[rows, K]`` integers.
        values: ``[outputs, K]`` integers.
        reach: bound on the sum of absolute products, below 2^53.

    Returns:
        ``[rows, outputs]`` integers in a floating-point dtype.
    """
    dtype = exact_dtype(reach)
    return columns.astype(dtype) @ values.T.astype(dtype)


def product_reach(values: IntArray, x: IntArray) -> int:
    """Largest sum of absolute products of one row of ``values`` with any row of ``x``."""
    largest = max(abs(int(x.max(initial=0))), abs(int(x.min(initial=0))))
    return int(np.abs(values.reshape(values.shape[0], -1)).sum(axis=1).max()) * largest


def requant_problems(requant: Requant, out_type: IntType) -> list[str]:
    """Broken rules of a requantiser for this output type."""
    found = requant.problems()
    if requant.lo < out_type.lo or requant.hi > out_type.hi:
        found.append(f"clamp {requant.lo}..{requant.hi} outside the output type {out_type}")
    return found


def requant_helpers(requant: Requant) -> tuple[Helper, ...]:
    """Shared C functions that apply this requantiser."""
    signed = (("requant_signed", ()),) if (requant.m < 0).any() else ()
    return (("clamp", ()), ("requant", ()), *signed)


def requant_plan(requant: Requant) -> tuple[dict[str, object], tuple[CArray, ...]]:
    """(literals, arrays) of a per-channel requantiser for the C templates."""
    signed_m = bool((requant.m < 0).any())
    same_z = bool((requant.z == requant.z[0]).all())
    arrays = [
        CArray("bias", "int32_t", _ints(requant.bias), "added to the shifted accumulator"),
        CArray(
            "m", "int32_t" if signed_m else "uint16_t", _ints(requant.m), "multiplier per channel"
        ),
        CArray("s", "uint8_t", _ints(requant.s), "right shift per channel"),
    ]
    if not same_z:
        arrays.append(CArray("z", "int16_t", _ints(requant.z), "zero point or constant"))
    values: dict[str, object] = {
        "shift": requant.p,
        "factor": 1 << requant.p,
        "signed_m": signed_m,
        "zero": int(requant.z[0]) if same_z else None,
        "lo": requant.lo,
        "hi": requant.hi,
    }
    return values, tuple(arrays)


def _ints(values: Int64) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def check_requant_length(kind: str, requant: Requant, channels: int) -> None:
    """Refuse constants whose count differs from the channels they serve."""
    need(
        len(requant.m) == channels,
        f"{kind}: {len(requant.m)} requantisation constants for {channels} channels;"
        " one per output channel is needed; lower the model again",
    )
