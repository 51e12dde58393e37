# SPDX-License-Identifier: Apache-2.0
"""Constant arrays of the Thumb kernels: weights in unpacking order, requantisation records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...hw_models.thumb_core import Core
from ..ops.base import CArray
from ..requant import Int64, Requant
from .thumb_forms import Fields, Lanes

OCTET = 8
"""Channels whose signed weights are interleaved on ARMv6-M: the column advances 8 bytes a word
pair, and its pointer is the index of the weights."""


def pad_runs(codes: NDArray[np.integer], run: int, unit: int) -> NDArray[np.integer]:
    """Codes ``[OC, K]`` with every run of ``run`` columns padded by 0 to whole units."""
    rows = codes.reshape(codes.shape[0], -1, run)
    return np.pad(rows, ((0, 0), (0, 0), (0, -run % unit))).reshape(codes.shape[0], -1)


def lefts_last(codes: NDArray[np.integer], run: int, unit: int) -> NDArray[np.integer]:
    """Codes ``[OC, K]``: whole units of every run, then units of one code of every run, filled."""
    rows = codes.reshape(codes.shape[0], -1, run)
    whole = run - run % unit
    lefts = rows[:, :, whole:].transpose(0, 2, 1)
    lefts = np.pad(lefts, ((0, 0), (0, 0), (0, unit - lefts.shape[2])))
    parts = [rows[:, :, :whole], lefts]
    return np.concatenate([part.reshape(codes.shape[0], -1) for part in parts], axis=1)


def lane_weights(form: Lanes, core: Core, groups: int = 1) -> CArray:
    """Signed weights of the lanes form, one group of output channels after the other.

    ARMv7-M: channel after channel. ARMv6-M: octets of channels interleaved code by code; the first
    octet of a group is the one that may be incomplete, its missing channels first.
    """
    rows = np.pad(form.codes, ((0, 0), (0, -form.codes.shape[1] % form.group)))
    if core.thumb1:
        rows = rows.reshape(groups, -1, rows.shape[1])
        rows = np.pad(rows, ((0, 0), (-rows.shape[1] % OCTET, 0), (0, 0)))
        rows = rows.reshape(-1, OCTET, rows.shape[2]).transpose(0, 2, 1)
        note = f"signed codes, {OCTET} channels interleaved"
    elif core.together(form.group) > 1:
        together = core.together(form.group)
        rows = rows.reshape(groups, -1, rows.shape[1])
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % together), (0, 0)))
        rows = rows.reshape(-1, together, rows.shape[2]).transpose(0, 2, 1)
        note = f"signed codes, {together} channels interleaved"
    else:
        note = "signed codes, channel after channel"
    note += f"; weight = {form.step}*code + {form.offset}"
    note += f", times {form.step << form.scale >> (form.step == 2)}" if form.scale else ""
    return CArray("w", "int8_t", _ints(rows), note)


def field_words(form: Fields, codes: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Weight words ``[OC, words]`` of codes ``[OC, K]`` whose K is a multiple of the span.

    A multiplier holds its codes in reverse order, so that the top digit pairs equals. The unrolled
    block is entered in its middle: the unused multipliers come first.
    """
    fields = codes.reshape(codes.shape[0], -1, form.span)[:, :, ::-1].astype(np.uint32)
    digits = (fields << (np.arange(form.span, dtype=np.uint32) * form.spacing)).sum(
        axis=2, dtype=np.uint32
    )
    digits = np.pad(digits, ((0, 0), (-digits.shape[1] % form.fields, 0)))
    digits = digits.reshape(codes.shape[0], -1, form.fields)
    shifts = np.arange(form.fields, dtype=np.uint32) * form.slot
    words: NDArray[np.uint32] = (digits << shifts).sum(axis=2, dtype=np.uint32)
    return words


def field_weights(form: Fields, codes: NDArray[np.integer]) -> CArray:
    """Unsigned weight codes of the fields form, packed in words."""
    sign = "-" if form.offset < 0 else "+"
    note = (
        f"{form.bits}-bit codes, {form.fields} multipliers of {form.span} codes in a word;"
        f" weight = {form.step << form.doubled}*code {sign} {abs(form.offset)}"
    )
    return CArray("w", "uint32_t", _ints(field_words(form, codes)), note)


def multiplier_is_signed(requant: Requant) -> bool:
    """Whether any channel needs the longer sequence for signed multipliers."""
    return bool((requant.m < 0).any())


def zero_points(requant: Requant, core: Core) -> Int64:
    """What is added at the end, per channel: the zero point above the clamp's lower end.

    On ARMv6-M above its upper end, which the clamp there starts from.
    """
    return requant.z - (requant.hi if core.thumb1 else requant.lo)


def z_varies(requant: Requant, core: Core) -> bool:
    """Whether the number added at the end differs between channels or is no immediate."""
    z = zero_points(requant, core)
    return bool((z != z[0]).any() or not -255 * core.thumb1 <= int(z[0]) <= 255)


def records(requant: Requant, extra: Int64, core: Core) -> CArray:
    """Requantisation constants, one record of words per channel.

    bias with ``extra`` (per channel, before the left shift) included, modulo 2^32; on ARMv7-M the
    multiplier m*2^(32-s); on ARMv6-M m and s-16 in one word, or in two where m is signed; where it
    varies what `zero_points` says.
    """
    bias = (requant.bias + (extra << requant.p)) & 0xFFFFFFFF
    if not core.thumb1:
        columns = [bias, (requant.m << (32 - requant.s)) & 0xFFFFFFFF]
        note = "bias, multiplier * 2^(32 - shift)"
    elif multiplier_is_signed(requant):
        columns = [bias, requant.m & 0xFFFFFFFF, requant.s - 16]
        note = "bias, multiplier, shift - 16"
    else:
        columns = [bias, requant.m | ((requant.s - 16) << 16)]
        note = "bias, multiplier + 65536 * (shift - 16)"
    if z_varies(requant, core):
        columns.append(zero_points(requant, core) & 0xFFFFFFFF)
        note += f", zero point - ({requant.hi if core.thumb1 else requant.lo})"
    return CArray("rq", "uint32_t", _ints(np.stack(columns, axis=1)), f"per channel: {note}")


def _ints(values: NDArray[np.integer]) -> tuple[int, ...]:
    return tuple(int(v) for v in values.reshape(-1))
