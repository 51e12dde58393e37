# SPDX-License-Identifier: Apache-2.0
"""The one requantisation rule, and the only place where real ratios become integers.

For an accumulator ``acc`` of output channel ``c``::

    t = (acc << p) + bias[c]
    y = clamp(((t * m[c] + 2^(s[c]-1)) >> s[c]) + z[c], lo, hi)      >> floors

with ``|m| < 2^16`` and ``17 <= s <= 32``. ``p`` is one number per layer. ``z`` is the zero point of
the output, the same for all channels except constant ones (m = 0), where it is the constant.
Everything else (simulator, C, RTL, exact mode) receives these integers. Reasons and bounds:
docs/decisions/0001-requantisation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedError

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

Exact = NDArray[np.number[Any]]
"""Integers in a dtype that holds them exactly, often a floating-point one."""

BLOCK = 1 << 14
"""Values that `Requant.apply` works on at a time."""
M_LIMIT = 1 << 16
S_MIN, S_MAX = 17, 32
T_LIMIT = (1 << 31) - 1
RATIO_GOAL = 2.0**-8
"""The left shift p brings every channel's ratio below this, so that a whole unit of ``bias`` is at
most 1/256 of an output step."""
P_MAX = 24


@dataclass(frozen=True, eq=False)
class Requant:
    """Integer constants of the rule, one entry per output channel.

    Attributes:
        p: static left shift of the accumulator.
        bias: int64 ``[C]``, each within int32.
        m: int64 ``[C]``, multipliers.
        s: int64 ``[C]``, right shifts.
        z: int64 ``[C]``, added after the shift.
        lo: smallest output code (a fused ReLU raises it).
        hi: largest output code.
    """

    p: int
    bias: Int64
    m: Int64
    s: Int64
    z: Int64
    lo: int
    hi: int

    def apply(self, acc: Exact, dtype: np.dtype[Any] | type[np.integer[Any]] = np.int64) -> Int64:
        """Apply the rule to accumulators shaped ``[..., C]``; the result has the same shape.

        Args:
            acc: integers in any dtype that holds them exactly.
            dtype: integer dtype of the result.

        The rule is computed in float64 as ``floor(acc*(m*2^(p-s)) + (bias*m*2^-s + 1/2 + z))``:
        every number here is a multiple of ``2^-s`` below ``2^(49-s)`` and so exact, and scaling by
        powers of two rounds nothing. (Blocks, so that intermediate results stay in the cache.
        Where no output is negative, conversion to integers cuts off what the floor would.)
        """
        factor = np.ldexp(self.m.astype(np.float64), self.p - self.s)
        offset = np.ldexp((self.bias * self.m).astype(np.float64), -self.s) + 0.5 + self.z
        flat = acc.reshape(-1, acc.shape[-1])
        result = np.empty(flat.shape, dtype)
        rows = max(1, BLOCK // max(1, flat.shape[1]))
        buffer = np.empty((min(rows, len(flat)), flat.shape[1]))
        for start in range(0, len(flat), rows):
            part = flat[start : start + rows]
            y = buffer[: len(part)]
            np.multiply(part, factor, out=y)
            y += offset
            if self.lo < 0:
                np.floor(y, out=y)
            np.clip(y, self.lo, self.hi, out=y)
            result[start : start + rows] = y
        return result.reshape(acc.shape)

    def t_bound(self, acc_lo: Int64, acc_hi: Int64) -> int:
        """Largest ``|t|`` for accumulators within ``[acc_lo[c], acc_hi[c]]``."""
        low = (acc_lo << self.p) + self.bias
        high = (acc_hi << self.p) + self.bias
        return int(np.maximum(np.abs(low), np.abs(high)).max(initial=0))

    def problems(self) -> list[str]:
        """What breaks the rule's own limits, in words; empty when all is well."""
        found = []
        if not 0 <= self.p <= P_MAX:
            found.append(f"left shift {self.p} outside 0..{P_MAX}")
        if np.abs(self.m).max(initial=0) >= M_LIMIT:
            found.append("a multiplier needs more than 16 bits")
        if self.s.min(initial=S_MIN) < S_MIN or self.s.max(initial=S_MAX) > S_MAX:
            found.append(f"a right shift outside {S_MIN}..{S_MAX}")
        if np.abs(self.bias).max(initial=0) > T_LIMIT:
            found.append("a bias outside int32")
        if self.lo > self.hi:
            found.append(f"empty output range {self.lo}..{self.hi}")
        lengths = {len(self.bias), len(self.m), len(self.s), len(self.z)}
        if len(lengths) != 1:
            found.append(f"constants of different lengths {sorted(lengths)}")
        return found


@dataclass(frozen=True, eq=False)
class AddRequant:
    """Constants of a sum of tensors: ``y = clamp(((sum m_i*x_i + bias + 2^(s-1)) >> s) + z)``.

    Everything stays within int32, which `snap_add` guarantees for the given code ranges; the shift
    may therefore be smaller than the 17 of `Requant`.
    """

    m: tuple[int, ...]
    bias: int
    s: int
    z: int
    lo: int
    hi: int

    def apply(self, inputs: Sequence[Int64]) -> Int64:
        """Apply the rule to equally shaped inputs."""
        total = np.full_like(inputs[0], self.bias + (1 << (self.s - 1)))
        for m, x in zip(self.m, inputs, strict=True):
            total = total + m * x
        y: Int64 = np.clip((total >> self.s) + self.z, self.lo, self.hi)
        return y

    def bound(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Largest magnitude of the sum before its shift, for inputs within ``ranges``."""
        terms = sum(abs(m) * max(abs(a), abs(b)) for m, (a, b) in zip(self.m, ranges, strict=True))
        return terms + abs(self.bias) + (1 << (self.s - 1))


def round_half_up(values: Float64) -> Float64:
    """floor(x + 0.5): the rounding of every grid in this project."""
    return np.floor(values + 0.5)


def _multipliers(ratio: Float64) -> tuple[Int64, Int64]:
    """(m, s) with ``m / 2^s`` nearest to ``|ratio| < 1/2``; s as large as the limits allow."""
    magnitude = np.abs(ratio)
    with np.errstate(divide="ignore"):
        exponent = np.where(magnitude > 0, np.floor(np.log2(magnitude)), -64.0)
    s = np.clip(15 - exponent, S_MIN, S_MAX).astype(np.int64)
    m = round_half_up(np.ldexp(magnitude, s)).astype(np.int64)
    carried = (m >= M_LIMIT) & (s > S_MIN)
    s = np.where(carried, s - 1, s)
    m = np.where(carried, round_half_up(np.ldexp(magnitude, s)).astype(np.int64), m)
    return np.where(ratio < 0, -m, m), s


def snap(
    ratio: Float64,
    offset: Float64,
    acc_lo: Int64,
    acc_hi: Int64,
    *,
    zero: int,
    lo: int,
    hi: int,
    name: str = "requantisation",
) -> Requant:
    """Integer constants for ``y = clamp(round(ratio*acc + offset) + zero, lo, hi)``.

    Args:
        ratio: ``[C]``, output steps per accumulator unit.
        offset: ``[C]``, output steps.
        acc_lo: ``[C]``, proven lower bound of the accumulator.
        acc_hi: ``[C]``, proven upper bound of the accumulator.
        zero: zero point of the output.
        lo: smallest output code.
        hi: largest output code.
        name: the node, for messages.

    A channel whose output does not depend on the accumulator (ratio 0, always saturated, or a
    ratio so small that the bias leaves int32) becomes a constant: m = 0, z = the constant.

    Raises:
        UnsupportedError: a ratio of 1/2 or more remains after the largest left shift that fits.
    """
    ratio = np.asarray(ratio, np.float64)
    offset = np.asarray(offset, np.float64)
    if not (np.isfinite(ratio).all() and np.isfinite(offset).all()):
        raise UnsupportedError(
            [f"{name}: a scale or bias that is not finite; finite numbers are supported; retrain or"
             " check the BatchNorm statistics"]
        )
    reach = np.maximum(np.abs(acc_lo), np.abs(acc_hi)).astype(np.float64)
    ends = np.stack([ratio * acc_lo + offset + zero, ratio * acc_hi + offset + zero])
    saturated = (ends.max(axis=0) < lo - 0.5) | (ends.min(axis=0) > hi + 0.5)
    constant = (ratio == 0) | saturated
    live = np.abs(ratio[~constant])
    goal = 0 if live.size == 0 else int(np.ceil(np.log2(live.max() / RATIO_GOAL) + 1e-12))
    p = int(np.clip(goal, 0, P_MAX))
    while p > 0 and (reach.max(initial=0) * 2.0**p > 2.0**30 or _bias_lost(
        ratio, offset, reach, constant, p
    ).any()):
        p -= 1
    scaled = np.ldexp(ratio, -p)
    if np.abs(scaled[~constant]).max(initial=0) >= 0.5:
        raise UnsupportedError(
            [f"{name}: one accumulator unit is {np.abs(ratio).max():.3g} output steps; less than"
             f" {2.0 ** (p - 1):.3g} is supported here; give the output a larger range or"
             " fewer bits"]
        )
    m, s = _multipliers(scaled)
    constant = constant | (m == 0) | _too_wide(ratio, offset, reach, p)
    # the offset is divided by the multiplier as rounded, so that rounding m does not move it
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.where(constant, 0.0, np.divide(np.ldexp(offset, s), m))
    limit = T_LIMIT - np.ldexp(reach, p)
    bias = np.clip(round_half_up(bias), -limit, limit)
    middle = np.clip(round_half_up((ends[0] + ends[1]) / 2), lo, hi)
    m = np.where(constant, 0, m)
    return Requant(
        p=p,
        bias=np.where(constant, 0, bias).astype(np.int64),
        m=m.astype(np.int64),
        s=np.where(constant, 24, s).astype(np.int64),
        z=np.where(constant, middle, zero).astype(np.int64),
        lo=lo,
        hi=hi,
    )


def _too_wide(ratio: Float64, offset: Float64, reach: Float64, p: int) -> NDArray[np.bool_]:
    """Channels whose bias does not fit next to the accumulator and that hardly move the output."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.abs(np.where(ratio == 0, 0.0, offset / np.ldexp(ratio, -p)))
    return (bias + np.ldexp(reach, p) > T_LIMIT) & (np.abs(ratio) * reach < 0.5)


def _bias_lost(
    ratio: Float64, offset: Float64, reach: Float64, constant: NDArray[np.bool_], p: int
) -> NDArray[np.bool_]:
    """Channels that move the output but whose bias does not fit at left shift p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.abs(np.where(ratio == 0, 0.0, offset / np.ldexp(ratio, -p)))
    overflow = bias + np.ldexp(reach, p) > T_LIMIT
    return overflow & ~constant & (np.abs(ratio) * reach >= 0.5)


def snap_add(
    ratios: Sequence[float],
    code_ranges: Sequence[tuple[int, int]],
    *,
    input_zeros: Sequence[int],
    zero: int,
    lo: int,
    hi: int,
    name: str = "add",
    offset: float = 0.0,
) -> AddRequant:
    """Constants for ``y = clamp(round(sum ratio_i*(x_i - zero_i) + offset) + zero, lo, hi)``.

    Args:
        ratios: scale of each input divided by the scale of the output.
        code_ranges: (smallest, largest) code of each input.
        input_zeros: zero point of each input.
        zero: zero point of the output.
        lo: smallest output code.
        hi: largest output code.
        name: the node, for messages.
        offset: output steps.

    Raises:
        UnsupportedError: the ratios cannot be expressed within int32.
    """
    for s in range(24, 0, -1):
        m = tuple(int(np.floor(ratio * 2.0**s + 0.5)) for ratio in ratios)
        bias = -sum(mi * zi for mi, zi in zip(m, input_zeros, strict=True))
        bias += int(np.floor(offset * 2.0**s + 0.5))
        rule = AddRequant(m, bias, s, zero, lo, hi)
        if max(abs(mi) for mi in m) < M_LIMIT and rule.bound(code_ranges) <= T_LIMIT:
            return rule
    raise UnsupportedError(
        [f"{name}: input ranges {max(ratios):.3g} times the output range; at most 2^15 is"
         " supported; recalibrate the activation ranges"]
    )
