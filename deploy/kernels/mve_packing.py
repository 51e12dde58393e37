# SPDX-License-Identifier: Apache-2.0
"""How the MVE kernels hold weights and constants: the one place that decides layouts.

VMLADAVA.U8 adds 16 products of unsigned bytes to a core register. Activations are therefore held
as ``x' = x - lowest container value`` (signed codes with their top bit flipped; the difference
goes into the bias) and weights as their unsigned codes ``q``; what the offset of the weights adds
is ``offset * sum(x')``, one sum per column for all channels.

A byte of the stream holds the codes of 1, 2 or 4 channels (``fields``), the first lowest; which
ones says `channel_order`. Where codes are taken apart beforehand, neighbours share a byte, and the
kernel finds bytes. Else the
kernel multiplies the whole byte, then the byte shifted right by one field, and so on: with
``V_i = byte >> (i*b)`` code i is ``V_i - 2^b * V_(i+1)``, so the sums are taken apart once at the
end instead of the codes at every step. All of it is exact modulo 2^32, and the result fits int32.

The multiplier is held as ``M = m << (32 - s)``: VRMULH.S32 (Arm DDI 0553) computes
``(t*M + 2^31) >> 32``, which is ``(t*m + 2^(s-1)) >> s``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...hw_models.mve_geometry import LANES, LOOPED, rounds_of, steps_of
from ...hw_models.mve_storage import Storage, field_counts
from ..ops.base import CArray, Helper
from ..ops.weighted import WeightedOp
from ..requant import Int64, Requant
from ..types import IntType

WORD = 1 << 32
FLIP = 0x80


@dataclass(frozen=True, eq=False)
class Scheme:
    """A layer's stored codes.

    Attributes:
        fields: codes of a byte: 1, 2 or 4.
        codes: unsigned codes, int64 ``[outputs, K]``.
        step: a weight is ``step*code + offset``.
        offset: see step.
        act: type of the activations.
        p: left shift of the accumulator.
        apart: whether codes are taken apart into working memory before the kernel runs.
    """

    fields: int
    codes: Int64
    step: int
    offset: int
    act: IntType
    p: int
    apart: bool

    @property
    def bits(self) -> int:
        """Bits of one field."""
        return 8 // self.fields

    @property
    def steps(self) -> int:
        """Vectors of a column."""
        return steps_of(self.codes.shape[1])

    @property
    def depth(self) -> int:
        """Bytes of a column."""
        return LANES * self.steps

    @property
    def centre(self) -> int:
        """Added to an activation to make it unsigned."""
        return FLIP if self.act.signed else 0

    @property
    def factor(self) -> int:
        """What a sum of code products is multiplied by."""
        return self.step << self.p

    @property
    def sum_factor(self) -> int:
        """What a column's sum is multiplied by, modulo 2^32."""
        return (self.offset << self.p) % WORD


def choose(op: WeightedOp, act: IntType, storage: Callable[[tuple[int, ...]], Storage]) -> Scheme:
    """The layout that ``storage`` names for the counts of codes that may share a byte."""
    weights = op.weights
    found = storage(field_counts(weights.bits))
    codes = weights.rows().astype(np.int64)
    return Scheme(found.fields, codes, weights.step, weights.offset, act, op.requant.p, found.apart)


def channel_order(tile: int, scheme: Scheme) -> Int64:
    """``[fields, vectors]``: which channel of a tile a field of a vector of bytes belongs to."""
    vectors = tile // scheme.fields
    field, vector = np.indices((scheme.fields, vectors))
    if scheme.apart:
        return vector * scheme.fields + field
    if vectors == 2 and scheme.fields == 4:
        # fields 0 and 2 stand in one vector of sums, 1 and 3 in the other: one product unmixes both
        return 4 * (field % 2) + 2 * vector + field // 2
    return field * vectors + vector


def loop_values(steps: int) -> dict[str, object]:
    """How many steps stand before the loop, and how many rounds of it follow."""
    rounds = rounds_of(steps)
    return {"straight": steps - LOOPED * rounds, "looped": rounds > 0, "round": LOOPED}


def constants(op: WeightedOp, scheme: Scheme) -> Int64:
    """``[3, outputs]``: bias, M and z of every output channel, modulo 2^32."""
    rule = op.requant
    total = op.weights.values.reshape(len(rule.bias), -1).sum(axis=1)
    bias = rule.bias - ((scheme.centre * total) << rule.p)
    return np.stack([bias, rule.m << (32 - rule.s), rule.z]) % WORD


def stream(op: WeightedOp, scheme: Scheme, tiles: Sequence[int], groups: int = 1) -> CArray:
    """Weights and constants in the order in which a kernel reads them, as words.

    Args:
        op: the layer.
        scheme: its layout.
        tiles: channels of every tile of a group, each a multiple of four.
        groups: channel groups.
    """
    outputs = len(scheme.codes) // groups
    codes = np.zeros((groups, sum(tiles), scheme.depth), np.int64)
    codes[:, :outputs, : scheme.codes.shape[1]] = scheme.codes.reshape(groups, outputs, -1)
    values = np.zeros((3, groups, sum(tiles)), np.int64)
    values[:, :, :outputs] = constants(op, scheme).reshape(3, groups, outputs)
    kinds = 3 if same_zero(op.requant) is None else 2
    words: list[int] = []
    for group in range(groups):
        first = 0
        for tile in tiles:
            part = codes[group, first : first + tile][channel_order(tile, scheme)]
            places = (1 << scheme.bits * np.arange(scheme.fields))[:, None, None]
            packed = (part * places).sum(axis=0).reshape(tile // scheme.fields, -1, LANES)
            data = packed.transpose(1, 0, 2).astype(np.uint8).tobytes()
            words += np.frombuffer(data, "<u4").astype(np.int64).tolist()
            for four in range(first, first + tile, 4):
                words += values[:kinds, group, four : four + 4].reshape(-1).tolist()
            first += tile
    note = (
        f"by tile: {scheme.bits}-bit codes, {scheme.fields} channels to a byte, 16 inputs at a"
        f" time; bias, M{', zero point' if kinds == 3 else ''} of four channels;"
        f" weight = {scheme.step}*code + {scheme.offset}"
    )
    return CArray("w", "uint32_t", tuple(words), note)


def same_zero(rule: Requant) -> int | None:
    """The output zero point, or None where channels differ (constant channels)."""
    return int(rule.z[0]) if (rule.z == rule.z[0]).all() else None


def requant_values(rule: Requant) -> dict[str, object]:
    """What a kernel prints about requantising."""
    return {**clamp_values(rule.lo, rule.hi), "zero": same_zero(rule)}


def clamp_values(lo: int, hi: int) -> dict[str, object]:
    """A clamp as a saturating shift up and a shift back (``sat``), or both ends one by one."""
    sat, back = "", 0
    if lo == 0 and hi & (hi + 1) == 0:
        sat, back = "u", 32 - hi.bit_length()
    elif -lo == hi + 1 and hi & (hi + 1) == 0:
        sat, back = "s", 31 - hi.bit_length()
    return {"lo": lo, "hi": hi, "sat": sat if 0 < back < 32 else "", "back": back}


def proof(scheme: Scheme) -> tuple[str, ...]:
    """What bounds the packed sums, as comment lines."""
    lines = ["sums are taken modulo 2^32 and end within the bounds above"]
    if scheme.fields > 1:
        code = int(scheme.codes.max())
        lines.append(
            f"{scheme.fields} codes of a byte: {code} <= {(1 << scheme.bits) - 1}, so that"
            f" (byte >> {scheme.bits}*i) mod {1 << scheme.bits} is code i"
            if scheme.apart
            else f"{scheme.fields} codes of a byte: {code} <= {(1 << scheme.bits) - 1}, so that"
            f" (byte >> {scheme.bits}*i) - {1 << scheme.bits}*(byte >> {scheme.bits}*(i + 1)) is"
            " code i"
        )
    return tuple(lines)


def helper(template: str, stem: str, values: dict[str, object]) -> Helper:
    """A shared C function; equal values give one function, its name says so."""
    mark = zlib.crc32(repr(sorted(values.items())).encode())
    return template, (("v", {**values, "tag": f"{stem}_{mark:08x}"}),)


def tag_of(made: Helper) -> str:
    """Name of a helper's C function after the model's prefix."""
    return str(made[1][0][1]["tag"])
