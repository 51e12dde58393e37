# SPDX-License-Identifier: Apache-2.0
"""The requantisation rule as hardware: one multiplication, or thresholds.

The rule ``y = clamp(((((acc << p) + bias) * m + 2^(s-1)) >> s) + z)`` becomes, with S the largest s
of the layer and ``d = S - s``,

    acc*M + B,  M = m * 2^d,  B = floor((bias*m*2^d + 2^(S-1) + z*2^S) / 2^p)
    y = clamp((acc*M + B) >> (S - p))

which is equal for every integer ``acc``: scaling numerator and denominator by 2^d changes nothing
under floor, z is whole, and ``acc*M`` is whole so that the division of B by 2^p may floor alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..requant import Int64, Requant
from ..types import IntType
from .plan import LUT_MEMORY_BITS, Table, bits_for, signed_bits, twos
from .split_product import split_product

THRESHOLD_BITS = 4
"""Outputs of up to this many bits compare with thresholds; wider ones multiply."""


@dataclass(frozen=True)
class Rescale:
    """A requantiser of ``lanes`` channels at once.

    Attributes:
        values: literals of the template's requantiser.
        latency: cycles from the accumulator to the code.
        pace: least cycles between accumulators.
    """

    values: dict[str, Any]
    latency: int
    pace: int = 1


def plan_rescale(
    rule: Requant, low: Int64, high: Int64, out: IntType, lanes: int, channels: int,
    serial: bool = False, deep: bool = False,
) -> Rescale:
    """The cheaper form of a requantiser for accumulators within ``low[c]..high[c]``.

    ``rule`` may have one entry for all channels; ``deep`` puts registers behind every memory and
    every comparison.
    """
    rule, low, high = spread(rule, low, high, channels)
    wide = _serial if serial else _multiplier
    form = thresholds if out.bits <= THRESHOLD_BITS else wide
    return form(rule, low, high, out, lanes, channels, deep)


def spread(
    rule: Requant, low: Int64, high: Int64, channels: int
) -> tuple[Requant, Int64, Int64]:
    """Constants and ranges of every channel where one set serves all."""
    if len(rule.m) > 1 or channels == 1:
        return rule, low, high
    whole = replace(
        rule, bias=np.repeat(rule.bias, channels), m=np.repeat(rule.m, channels),
        s=np.repeat(rule.s, channels), z=np.repeat(rule.z, channels),
    )  # fmt: skip
    return whole, np.repeat(low, channels), np.repeat(high, channels)


def linear_form(rule: Requant) -> tuple[list[int], list[int], int]:
    """(M, B, shift) per channel of the form in this module's docstring, in unbounded integers."""
    s = [int(v) for v in rule.s]
    top = max(s)
    m = [int(v) << (top - si) for v, si in zip(rule.m, s, strict=True)]
    b = [
        (int(bias) * mi + (1 << (top - 1)) + (int(z) << top)) >> rule.p
        for bias, mi, z in zip(rule.bias, m, rule.z, strict=True)
    ]
    return m, b, top - rule.p


def packed(m: list[int], b: list[int], bits: tuple[int, int], lanes: int) -> list[int]:
    """Memory words of factors and addends (of so many ``bits`` each), a beat of lanes in each."""
    m_bits, b_bits = bits
    words = []
    for first in range(0, len(m), lanes):
        word = 0
        for channel in reversed(range(first, first + lanes)):
            word = (word << b_bits) | twos(b[channel], b_bits)
            word = (word << m_bits) | twos(m[channel], m_bits)
        words.append(word)
    return words


def _multiplier(
    rule: Requant, low: Int64, high: Int64, out: IntType, lanes: int, channels: int,
    deep: bool,
) -> Rescale:
    m, b, shift = linear_form(rule)
    m_bits = signed_bits(min(m), max(m))
    b_bits = signed_bits(min(b), max(b))
    acc_bits = signed_bits(int(low.min()), int(high.max()))
    ends = [
        end * mi + bi
        for mi, bi, ends in zip(m, b, zip(low, high, strict=True), strict=True)
        for end in (int(ends[0]), int(ends[1]))
    ]
    # a constant channel's B stands alone; the sum is never wider than its proven ends
    sum_bits = max(
        signed_bits(min(*ends, *b), max(*ends, *b)), shift + out.bits + 2, acc_bits + m_bits
    )
    words = packed(m, b, (m_bits, b_bits), lanes)
    split = split_product(acc_bits, m_bits, deep)
    return Rescale(
        {
            "form": "multiplier", "lanes": lanes, "acc_bits": acc_bits, "m_bits": m_bits,
            "b_bits": b_bits, "sum_bits": sum_bits, "shift": shift, "lo": rule.lo, "hi": rule.hi,
            "out_bits": out.bits, "beats": channels // lanes,
            "table": Table.of(lanes * (m_bits + b_bits), words), "deep": deep,
            **split,
        },
        4 + int(deep) + int(split["split"]),
    )  # fmt: skip


def _serial(
    rule: Requant, low: Int64, high: Int64, out: IntType, lanes: int, channels: int,
    deep: bool,
) -> Rescale:
    """One bit of M a cycle: ``P = (P + (M[i] ? a : 0) + b[i]) >> 1`` from ``P = 0``.

    With ``a = (acc << extra) + c`` and ``0 <= b < 2^K`` chosen so that ``a*M + b`` is
    ``(acc*M + B) << extra``. Floors nest, so K such steps give floor((a*M + b) / 2^K), and P never
    leaves the range of ``a`` and 0. ``extra`` is what the shift is smaller than K. A negative M
    becomes positive with ``~acc`` in place of acc, as acc*M + B = ~acc*(-M) + (B - M).

    A channel whose constants have no such form sends the layer to the parallel multiplier.
    """
    m, b, shift = linear_form(rule)
    flips = [mi < 0 for mi in m]
    steps = max(1, max(abs(mi) for mi in m).bit_length())
    extra = max(0, steps - shift)
    constants: list[tuple[int, int, int]] = []
    ends: list[int] = []
    for i in range(channels):
        first, last = int(low[i]), int(high[i])
        if flips[i]:
            first, last = ~last, ~first
        found = serial_constants(
            abs(m[i]), b[i] - m[i] if flips[i] else b[i], first, last, steps, shift, extra
        )
        if found is None:
            return _multiplier(rule, low, high, out, lanes, channels, deep)
        constants.append(found)
        ends += [(first << extra) + found[1], (last << extra) + found[1]]
    a_bits = signed_bits(min(ends), max(ends))
    flip_bit = int(any(flips))
    rest = shift + extra - steps
    beats = channels // lanes
    turn_bits = bits_for(steps - 1)
    starts, turns = [], []
    for beat in range(beats):
        mine = range(beat * lanes, (beat + 1) * lanes)
        word = 0
        for i in reversed(mine):
            word = (word << flip_bit) | (int(flips[i]) if flip_bit else 0)
            word = (word << a_bits) | twos(constants[i][1], a_bits)
        starts.append(word)
        for turn in range(1 << turn_bits):
            word = 0
            for i in reversed(mine):
                slope, _, addend = constants[i]
                word = (word << 2) | (addend >> turn & 1) << 1 | (slope >> turn & 1)
            turns.append(word)
    return Rescale(
        {
            "form": "serial", "lanes": lanes, "steps": steps, "extra": extra, "a_bits": a_bits,
            "acc_bits": signed_bits(int(low.min()), int(high.max())), "flips": bool(flip_bit),
            "each": a_bits + flip_bit, "turn_bits": turn_bits, "high_from": min(rest, a_bits - 1),
            "high_has": max(1, a_bits - rest), "high_bits": max(a_bits - rest, out.bits + 2),
            "lo": rule.lo, "hi": rule.hi, "out_bits": out.bits, "beats": beats,
            "starts": Table.of(lanes * (a_bits + flip_bit), starts),
            "turns": Table.of(2 * lanes, turns), "starts_style": "", "turns_style": "",
            "deep": deep,
        },
        steps + 3 + int(deep),
        steps + 1 + int(deep),
    )  # fmt: skip


def serial_constants(
    m: int, b: int, low: int, high: int, steps: int, shift: int, extra: int
) -> tuple[int, int, int] | None:
    """(M, c, b) of the serial form of one channel, ``m >= 0``; None where there is none.

    A constant channel gets a slope all the same, too small to reach the next code from ``low`` to
    ``high``.
    """
    if m:
        c, rest = divmod(b << extra, m)
        return m, c, rest
    code, whole = b >> shift, 1 << (shift + extra)
    slope = min((1 << steps) - 1, whole // (((high - low) << extra) + 1))
    if slope < 1:
        return None
    return slope, -(-code * whole // slope) - (low << extra), 0


def channel_thresholds(
    rule: Requant, channel: int, low: int, high: int
) -> tuple[bool, list[int]]:
    """(falling, T): ``y = lo + #{k: a >= T[k]}`` with ``a = acc``, or ``a = ~acc`` when falling.

    T has ``hi - lo`` entries within ``low'..high'+1``, the range of ``a``, where the upper end
    stands for "never".
    """
    one = slice(channel, channel + 1)
    m, b, shift = linear_form(
        replace(rule, bias=rule.bias[one], m=rule.m[one], s=rule.s[one], z=rule.z[one])
    )
    slope, addend = m[0], b[0]
    falling = slope < 0
    # ~acc = -acc-1, so acc*M + B = a*(-M) + (B - M) with a = ~acc
    if falling:
        slope, addend, low, high = -slope, addend - slope, ~high, ~low
    found = []
    for code in range(rule.lo + 1, rule.hi + 1):
        if slope == 0:
            found.append(low if addend >> shift >= code else high + 1)
            continue
        first = -(-((code << shift) - addend) // slope)
        found.append(min(max(first, low), high + 1))
    return falling, found


def thresholds(
    rule: Requant, low: Int64, high: Int64, out: IntType, lanes: int, channels: int,
    deep: bool, flips: bool = False,
) -> Rescale:
    """Binary search among thresholds; ``flips`` gives every channel a mark of falling."""
    depth = out.bits
    per_channel = [
        channel_thresholds(rule, c, int(low[c]), int(high[c])) for c in range(channels)
    ]
    acc_bits = signed_bits(
        min(int(low.min()), int((~high).min())), max(int(high.max()), int((~low).max())) + 1
    )
    never = (1 << (acc_bits - 1)) - 1
    flips = flips or any(falling for falling, _ in per_channel)
    each = (1 << depth) - 1
    tables = []
    for lane in range(lanes):
        mine = [per_channel[beat * lanes + lane] for beat in range(channels // lanes)]
        # a threshold that is never reached must stay above every accumulator
        full = [[*found, *[never] * (each - len(found))] for _, found in mine]
        levels = []
        for level in range(depth):
            words = []
            for beat, (falling, _) in enumerate(mine):
                for prefix in range(1 << level):
                    code = ((2 * prefix + 1) << (depth - level - 1)) - 1
                    word = twos(full[beat][code], acc_bits)
                    if flips and level == 0:
                        word |= int(falling) << acc_bits
                    words.append(word)
            levels.append(Table.of(acc_bits + int(flips and level == 0), words))
        tables.append(levels)
    # cycles of a level: a look-up, one more where it is a slow block memory, one for the comparison
    slow = any(t.width * t.depth > LUT_MEMORY_BITS for levels in tables for t in levels)
    wait = int(deep and slow)
    each_level = 1 + int(deep) + wait
    return Rescale(
        {
            "form": "thresholds", "lanes": lanes, "acc_bits": acc_bits, "levels": depth,
            "flips": flips, "lo": rule.lo, "out_bits": out.bits,
            "beats": channels // lanes, "tables": tables, "deep": deep, "wait": wait,
            "each_level": each_level,
        },
        depth * each_level + int(not deep),
    )  # fmt: skip
