# SPDX-License-Identifier: Apache-2.0
"""Pools on cores with the DSP extension: four channels an instruction.

A maximum is USUB8 (SSUB8 for signed codes), which sets a flag per byte, and SEL by these flags. A
sum is two UXTAB16 (SXTAB16): bytes 0 and 2 of a word into the half-words of one register, bytes 1
and 3 into those of another. Channels left over are computed together with some before them, again.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.pool_form import LANES, pool_form
from ..ops.base import CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import window_values
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..types import IntType
from . import dsp_packing as dsp


def largest_sum(type_: IntType, taps: int) -> tuple[int, int]:
    """(largest magnitude of a sum of ``taps`` codes, what a half-word holds)."""
    if type_.signed:
        return -type_.lo * taps, 1 << 15
    return type_.hi * taps, (1 << 16) - 1


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a pool; None for fewer than four channels, or sums that half-words do not hold."""
    assert isinstance(op, MaxPool2d | AvgPool2d)
    source, window = inputs[0], op.window
    taps = window.kernel[0] * window.kernel[1]
    if source.shape[2] < LANES or source.type.bytes_ != 1:
        return None
    reach, limit = largest_sum(source.type, taps)
    largest = isinstance(op, MaxPool2d)
    if not largest and reach > limit:
        return None
    form = pool_form(source.shape[:2], window.kernel, window.pad)
    values: dict[str, object] = {
        **window_values(window, source.shape, output.shape),
        "signed": source.type.signed,
        "largest": largest,
        "straight": form.straight,
        "whole": form.whole,
        "unrolled": form.unrolled,
        "last": source.shape[2] - LANES,
        "offsets": tuple(
            (y * source.shape[1] + x) * source.shape[2]
            for y in range(window.kernel[0])
            for x in range(window.kernel[1])
        ),
    }
    helpers: tuple[Helper, ...] = (("dsp_guard", ()), ("dsp_load", ()))
    lines = tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs))
    if isinstance(op, MaxPool2d):
        return CPlan(
            "pool", {**values, "lowest": source.type.lo % 256 * 0x01010101}, (),
            (*helpers, ("dsp_store", ()), ("dsp_max", (("signed", source.type.signed),))), 0, lines,
        )  # fmt: skip
    rule = op.requant
    values.update(
        pad_value=op.pad_value,
        pad_factor=op.pad_value << rule.p,
        shift=rule.p,
        bias=int(rule.bias[0]) % dsp.WORD,
        factor=(int(rule.m[0]) << (32 - int(rule.s[0]))) % dsp.WORD,
        zero=int(rule.z[0]),
        lo=rule.lo,
        hi=rule.hi,
    )
    lines += (f"sums of {taps} codes: {reach} <= {limit}, the largest of a half-word",)
    scale: tuple[Helper, ...] = (("dsp_finish", ()), ("dsp_scalar", ()))
    sums: Helper = ("dsp_lanes", (("signed", source.type.signed),))
    return CPlan("pool", values, (), (*helpers, *scale, sums), 0, lines)
