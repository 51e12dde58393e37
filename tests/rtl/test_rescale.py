# SPDX-License-Identifier: Apache-2.0
"""The requantiser's hardware forms against the one rule, over whole ranges of accumulators."""

from __future__ import annotations

import numpy as np
import pytest

from adaqat.deploy import IntType
from adaqat.deploy.requant import Requant, snap
from adaqat.deploy.rtl.plan import signed_bits
from adaqat.deploy.rtl.rescale import (
    channel_thresholds,
    linear_form,
    plan_rescale,
    serial_constants,
)
from adaqat.deploy.rtl.rescale_constant import plan_constant

CHANNELS = 6


def rule_for(bits: int, signed: bool, seed: int, reach: int, raised: bool = False) -> Requant:
    """Random constants: slopes of both signs, one constant channel, zero points of both signs."""
    rng = np.random.default_rng(seed)
    out = IntType(bits, signed)
    low, high = np.full(CHANNELS, -reach), np.full(CHANNELS, reach)
    ratio = (out.hi - out.lo) / reach * rng.uniform(0.3, 1.5, CHANNELS)
    ratio *= rng.choice([-1, 1], CHANNELS)
    ratio[0] = 0
    ratio = np.clip(ratio, -100, 100)
    zero = int(rng.integers(out.lo, out.hi + 1))
    lo = zero if raised else out.lo
    return snap(ratio, rng.normal(0, 3, CHANNELS), low, high, zero=zero, lo=lo, hi=out.hi)


def accumulators(reach: int) -> np.ndarray:
    return np.repeat(np.arange(-reach, reach + 1)[:, None], CHANNELS, axis=1)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("raised", [False, True])
def test_linear_form_is_the_rule(bits, signed, raised):
    reach = 3000
    rule = rule_for(bits, signed, bits, reach, raised)
    acc = accumulators(reach)
    m, b, shift = linear_form(rule)
    # unbounded integers: neither form may rely on a width
    found = np.array(
        [[min(max((int(a) * mi + bi) >> shift, rule.lo), rule.hi)
          for a, mi, bi in zip(row, m, b, strict=True)] for row in acc[::7]]
    )  # fmt: skip
    assert (found == rule.apply(acc[::7])).all()


@pytest.mark.parametrize("bits", range(1, 5))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("raised", [False, True])
def test_thresholds_are_the_rule(bits, signed, raised):
    reach = 900
    rule = rule_for(bits, signed, 10 + bits, reach, raised)
    acc = accumulators(reach)
    wanted = rule.apply(acc)
    slopes = set()
    for channel in range(CHANNELS):
        falling, levels = channel_thresholds(rule, channel, -reach, reach)
        slopes.add(falling)
        seen = ~acc[:, channel] if falling else acc[:, channel]
        assert levels == sorted(levels)
        found = rule.lo + (seen[:, None] >= np.array(levels, int)).sum(axis=1)
        assert (found == wanted[:, channel]).all()
    assert slopes == {False, True}, "the test must hold both directions"


@pytest.mark.parametrize("seed", range(12))
def test_serial_form_is_the_rule(seed):
    """The steps of the serial unit on its own constants, in a register of its own width."""
    reach = [15, 2000, 500_000][seed % 3]
    rule = rule_for(8, seed % 2 == 0, seed, reach, seed % 5 == 0)
    low, high = np.full(CHANNELS, -reach), np.full(CHANNELS, reach)
    out = IntType(8, seed % 2 == 0)
    v = plan_rescale(rule, low, high, out, 1, CHANNELS, serial=True).values
    assert v["form"] == "serial"
    starts, turns = int(v["starts"].digits, 16), int(v["turns"].digits, 16)
    acc = np.linspace(-reach, reach, 201).astype(int)
    wanted = rule.apply(np.repeat(acc[:, None], CHANNELS, axis=1))
    for channel in range(CHANNELS):
        word = starts >> (channel * v["each"])
        c = word & ((1 << v["a_bits"]) - 1)
        c -= (c >> (v["a_bits"] - 1)) << v["a_bits"]
        flip = v["flips"] and word >> (v["each"] - 1) & 1
        for i, value in enumerate(acc):
            a = ((~int(value) if flip else int(value)) << v["extra"]) + c
            p = 0
            for step in range(v["steps"]):
                bits = turns >> (2 * ((channel << v["turn_bits"]) + step)) & 3
                assert -(1 << (v["a_bits"] - 1)) <= min(p, a) <= max(p, a) < 1 << (v["a_bits"] - 1)
                p = (p + a * (bits & 1) + (bits >> 1)) >> 1
            assert min(max(p >> v["high_from"], rule.lo), rule.hi) == wanted[i, channel]


@pytest.mark.parametrize("seed", range(8))
def test_constant_form_is_the_rule(seed):
    """Factor, addend and shift of every channel on their own; sums stay within their wires."""
    reach = [15, 2000, 500_000][seed % 3]
    out = IntType(5 + seed % 4, seed % 2 == 0)
    rule = rule_for(out.bits, out.signed, seed, reach, seed % 5 == 0)
    low, high = np.full(CHANNELS, -reach), np.full(CHANNELS, reach // 3)
    made = plan_constant(rule, low, high, out, 2)
    assert made.latency == 2 + made.values["stages"]
    acc = np.unique(np.linspace(-reach, reach // 3, 801).astype(int))
    wanted = rule.apply(np.repeat(acc[:, None], CHANNELS, axis=1))
    for channel, lane in enumerate(made.values["channels"]):
        if lane["constant"] is not None:
            assert (wanted[:, channel] == lane["constant"]).all()
            continue
        sums = acc * lane["factor"] + lane["addend"]
        assert signed_bits(int(sums.min()), int(sums.max())) <= lane["sum_bits"]
        found = np.clip(sums >> lane["shift"], rule.lo, rule.hi)
        assert (found == wanted[:, channel]).all()
        assert lane["stages"] + lane["wait"] == made.values["stages"]


def test_a_constant_channel_that_reaches_every_code_multiplies_in_parallel():
    """No slope is small enough for a constant where one step of acc spans a whole code."""
    assert serial_constants(0, 5 << 4, -100, 100, 3, 4, 0) is None
    assert serial_constants(0, 5 << 17, -100, 100, 16, 17, 0) is not None
