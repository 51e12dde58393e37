# SPDX-License-Identifier: Apache-2.0
"""The record that a compact kernel reads instead of literals, and the constants beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..ops.base import CArray, Helper, Window
from ..requant import Int64, Requant

NEGATIVE, CONSTANT = 64, 128
"""Flags beside the shift of a channel: a negative multiplier; the bias is the code itself."""
RECORD_BYTES = 44
"""Bytes of the record on a 32-bit core: four pointers, 10 half-words, 8 bytes, no holes."""
HALF = range(0, 1 << 16)
SIGNED_HALF = range(-(1 << 15), 1 << 15)
BYTE = range(0, 1 << 8)
HALF_BYTE = range(0, 1 << 4)

Fields = tuple[tuple[str, int | str], ...]


@dataclass(frozen=True)
class Flavour:
    """What the compact kernels use of a core.

    Attributes:
        name: of the kernel family.
        simd: whether the DSP extension is there.
        values: whether 8-bit weights are stored as signed values, which saves the sum of the
            inputs; it costs an instruction a weight where loads cannot sign-extend.
    """

    name: str
    simd: bool
    values: bool


@dataclass(frozen=True)
class Layer:
    """One layer's record.

    Attributes:
        source: (height, width, channels) of the input.
        result: the same of the output.
        window: geometry.
        requant: its rule; None for layers that only move codes.
        blocks: packed blocks of a row.
        step: a weight is ``step*code + offset``.
        offset: see step.
        pad_value: code outside the image.
    """

    source: tuple[int, ...]
    result: tuple[int, ...]
    window: Window = field(default_factory=lambda: Window((1, 1)))
    requant: Requant | None = None
    blocks: int = 0
    step: int = 1
    offset: int = 0
    pad_value: int = 0

    def fields(self, *, weights: bool) -> Fields | None:
        """Members of the record in their order; None where one does not fit its C type.

        Args:
            weights: whether the layer has an array of weights.
        """
        rule, window = self.requant, self.window
        zero, lo, hi, shift = 0, 0, 0, 0
        if rule is not None:
            zero, lo, hi, shift = _zero(rule), rule.lo, rule.hi, rule.p
        pointers: list[tuple[str, int | str]] = [
            ("pointer", "w") if weights else ("number", 0),
            *((("pointer", n) if rule else ("number", 0)) for n in ("bias", "m", "s")),
        ]
        halves = (*self.source, *self.result, self.blocks)
        signed = (self.offset, zero, lo)
        pairs = (window.stride, window.dilation, window.pad[:2])
        small = (hi - lo, 32 * self.step + shift, *window.kernel)
        fits = (
            all(v in HALF for v in halves)
            and all(v in SIGNED_HALF for v in signed)
            and all(v in BYTE for v in small)
            and all(v in HALF_BYTE for pair in pairs for v in pair)
        )
        if not fits:
            return None
        shared = (low + 16 * high for low, high in pairs)
        numbers = (*halves, *signed, *small, *shared, self.pad_value & 0xFF)
        return (*pointers, *(("number", int(v)) for v in numbers))


def _zero(rule: Requant) -> int:
    """The zero point of all channels that are no constants."""
    live = rule.z[rule.m != 0]
    return int(live[0]) if len(live) else 0


def rule_arrays(rule: Requant) -> tuple[CArray, ...] | None:
    """Bias, multiplier and shift per channel; None for a rule that needs other types."""
    live = rule.m != 0
    if len(set(rule.z[live].tolist())) > 1:
        return None
    bias = np.where(live, rule.bias, rule.z)
    up = 32 - rule.s + np.where(rule.m < 0, NEGATIVE, 0) + np.where(live, 0, CONSTANT)
    return (
        CArray("bias", "int32_t", _ints(bias), "added to the shifted accumulator"),
        CArray("m", "uint16_t", _ints(np.abs(rule.m)), "multiplier per channel"),
        CArray("s", "uint8_t", _ints(up), "32 - right shift per channel, and flags"),
    )


def layer_helpers(flavour: Flavour, *more: Helper) -> tuple[Helper, ...]:
    """Shared C of a layer that requantises, in the order of their definition."""
    guard: tuple[Helper, ...] = (("compact_guard", ()),) if flavour.simd else ()
    return (
        *guard,
        ("clamp", ()),
        ("compact_layer", ()),
        ("compact_scale", (("simd", flavour.simd),)),
        ("compact_finish", ()),
        *more,
    )


def _ints(values: Int64) -> tuple[int, ...]:
    return tuple(int(v) for v in values)
