# SPDX-License-Identifier: Apache-2.0
"""Pools of Cortex-M0+ and M3: exact for every window, and as dear whatever their constants are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nets import Maker, graph, input_node
from thumb_nets import TARGETS, one_layer

from adaqat.deploy import IntType, Node
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.pool2d import AvgPool2d, MaxPool2d
from adaqat.deploy.requant import snap
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host

# image, window, stride, padding
POOLS = [
    ((3, 3, 260), (3, 3), (3, 3), (0, 0, 0, 0)),
    ((6, 3, 7), (3, 3), (2, 1), (0, 0, 0, 0)),
    ((4, 5, 257), (3, 3), (1, 2), (1, 1, 0, 1)),
    ((5, 2, 9), (4, 2), (1, 1), (0, 0, 0, 0)),
    ((2, 2, 300), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((7, 6, 6), (3, 5), (2, 1), (0, 0, 0, 0)),
]


@pytest.mark.thinned(2)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("geometry", POOLS)
@pytest.mark.parametrize("kind", ["average", "largest"])
def test_pools_are_exact(target, geometry, kind):
    pytest.importorskip("unicorn")
    shape, kernel, stride, pad = geometry
    for bits, signed in ((8, False), (8, True), (3, True)):
        act = IntType(bits, signed)
        x = input_node(shape, act, 1)
        if kind == "average":
            make = Maker(bits + shape[2], 8, zero=1)
            node = make.avgpool("pool", x, act, kernel=kernel, stride=stride, pad=pad)
        else:
            window = Window(kernel, stride, (1, 1), pad)
            node = Node.make("pool", MaxPool2d(window), (x,), scale=0.05, zero=1)
        net = graph(x, node)
        model = layout(net, get(target), "net")
        codes = make_inputs(net, samples=6, seed=bits)
        assert compare_host(model, codes).mismatches == 0
        tally = Tally(model, target)
        with Device(model, target) as device:
            tally.add(codes, device.trace(codes))
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("geometry", [POOLS[2], POOLS[4], POOLS[5]])
@pytest.mark.parametrize("kind", ["average", "largest"])
def test_pools_of_riscv32_are_exact(geometry, kind):
    test_pools_are_exact("riscv32", geometry, kind)


def average(shape, m, p=None):
    """A global average whose multiplier is ``m`` and left shift ``p``."""
    act, size = IntType(8, False), shape[0] * shape[1]
    low, high = np.array([0]), np.array([255 * size])
    rule = snap(np.array([0.9 / size]), np.zeros(1), low, high, zero=0, lo=0, hi=255)
    rule = replace(rule, m=np.array([m]), p=rule.p if p is None else p)
    return one_layer(AvgPool2d(Window(shape[:2], shape[:2]), rule, act), shape, act)


def instructions(net, target) -> int:
    with Device(layout(net, get(target), "net"), target) as device:
        count = device.count(make_inputs(net, samples=1))
    assert count is not None
    return count.nodes["layer"].instructions


@pytest.mark.parametrize("target", TARGETS)
def test_the_multiplier_of_an_average_costs_the_same(target):
    # of 0x8889 = 0b1000100010001001 GCC makes sums of shifts on Cortex-M0+, if it may
    pytest.importorskip("unicorn")
    found = {instructions(average((3, 3, 32), m), target) for m in (0x8889, 0x999A, 0xFFFF, 40503)}
    assert max(found) <= min(found) + 1  # to bring it may take one more


@pytest.mark.parametrize("target", ["cortex-m0plus", "riscv32"])
def test_the_bounds_of_an_average_cost_the_same(target):
    # with the smaller shift sums stay below 2^16 and codes below their limit: no instruction less
    pytest.importorskip("unicorn")
    found = {instructions(average((2, 2, 32), 0xE666, p), target) for p in (6, 7)}
    assert max(found) <= min(found) + 33


@pytest.mark.parametrize("target", TARGETS)
def test_averages_cost_by_channels_and_taps(target):
    # a pixel of 256 channels is no immediate of ARMv6-M
    pytest.importorskip("unicorn")
    each = {
        channels: instructions(average((3, 3, channels), 0x999A), target) / channels
        for channels in (32, 64, 256, 384)
    }
    assert max(each.values()) < 1.05 * min(each.values())
