# SPDX-License-Identifier: Apache-2.0
"""Channels are added where the table says so, and change no output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import Maker, graph, input_node

from adaqat.deploy import Graph, IntType, Node, simulate
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.passes import clean
from adaqat.deploy.passes.pad_channels import pad_channels
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import load
from adaqat.hw_models.model import Cost, NodeCost

S8 = IntType(8, True)


class Device:
    """A cost table of a device: the cost of a node by its number of channels."""

    kernels = ()
    has_cycles = False

    def __init__(self, price: Callable[[int], float]) -> None:
        self.price = price

    def predicts(self, work: Any) -> bool:
        return True

    def cost(self, net: Graph) -> list[NodeCost]:
        return [
            NodeCost(n.name, Cost(self.price(n.output.shape[-1]), None, None, 0, 0, {}, 0.0))
            for n in net.nodes
        ]


FULL = Device(lambda channels: 1.0 + (channels % 4 > 0))
"""Fast with full groups of four alone."""
GROUPS = Device(lambda channels: float(-(-channels // 4)))
"""Works on four channels at a time, full or not."""


def chain(seed: int, tflite: bool) -> Graph:
    make = MoreMaker(seed, 6, zero=1)
    x = input_node((6, 7, 5), S8, 1)
    make.count = 0  # a grid with a zero
    a = make.tflite_conv("a", x, 9) if tflite else make.conv("a", x, 9, S8)
    wave = make.lookup("wave", a, S8, rows=9)
    make.count = 0
    b = make.depthwise("b", wave, S8)
    pooled = make.avgpool("pooled", b, S8, kernel=(2, 2))
    make.count = 0
    c = make.conv("c", pooled, 7, S8)
    mean = make.avgpool("mean", c, S8, kernel=c.output.shape[:2])
    flat = Node.make("flat", Reshape((7,)), (mean,))
    make.count = 0
    return graph(x, a, wave, b, pooled, c, mean, flat, make.linear("fc", flat, 5, S8))


@pytest.mark.parametrize("tflite", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_full_groups_and_the_same_outputs(seed, tflite):
    before = chain(seed, tflite)
    after = pad_channels(before, FULL)
    widths = {n.name: n.output.shape[-1] for n in after.nodes}
    assert widths == {"x": 5, "a": 12, "wave": 12, "b": 12, "pooled": 12, "c": 8, "mean": 8,
                      "flat": 8, "fc": 5}  # fmt: skip
    codes = make_inputs(before, samples=20)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    assert pad_channels(after, FULL).dump() == after.dump()


@pytest.mark.parametrize("table", [GROUPS, Device(lambda channels: 2.0 - (channels % 4 > 0))])
def test_not_where_it_is_no_cheaper(table):
    before = chain(0, False)
    assert pad_channels(before, table).dump() == before.dump()


def test_not_without_a_zero_and_not_without_prices():
    make = Maker(0, 4)
    x = input_node((6, 7, 5), S8)
    make.count = 1  # the zero-free grid comes next
    a = make.conv("a", x, 9, S8)
    before = graph(x, a, make.conv("b", a, 4, S8))
    assert pad_channels(before, FULL).dump() == before.dump()
    unpriced = chain(0, True)
    assert pad_channels(unpriced, load("cortex-m4")).dump() == unpriced.dump()


def test_clean_keeps_the_outputs_and_drops_dead_channels():
    before = chain(2, False)
    c = before["c"]
    codes = c.op.weights.codes.copy()
    codes[..., 3] = 1 << 5  # nobody reads channel 3 of b
    unread = replace(c, op=replace(c.op, weights=replace(c.op.weights, codes=codes)))
    before = before.with_nodes(tuple(unread if n is c else n for n in before.nodes))
    after = clean(before, load("cortex-m4"))
    assert after["a"].output.shape[-1] == 8
    codes = make_inputs(before, samples=20)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
