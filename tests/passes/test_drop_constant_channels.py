# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import Graph, IntType, Node, check, simulate
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.tflite_weighted import TfliteDepthwiseConv2d
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.passes.drop_constant_channels import drop_constant_channels
from adaqat.deploy.vectors import make_inputs

S8 = IntType(8, True)


def with_dead(node: Node, dead: list[int]) -> Node:
    """The node with some output channels of weight 0 (the symmetric grid's middle code)."""
    w = node.op.weights
    codes = w.codes.copy()
    codes[dead] = 1 << (w.bits - 1)
    weights = Weights(codes, w.bits, 1, -(1 << (w.bits - 1)))
    return replace(node, op=replace(node.op, weights=weights))


def chain(seed: int, kind: str, *, padded: bool) -> Graph:
    make = MoreMaker(seed, 8, zero=1)
    x = input_node((6, 7, 5), S8, 1)
    if kind == "tflite":
        a = with_dead(make.tflite_conv("a", x, 9), [0, 3, 4, 8])
        weights = make.weights((9, 3, 3, 1))
        pad = (1, 1, 1, 1) if padded else (0, 0, 0, 0)
        op = TfliteDepthwiseConv2d(weights, make.tflite_rule(weights, a, "double"), S8,
                                   Window((3, 3), pad=pad), a.output.zero)  # fmt: skip
        b = Node.make("b", op, (a,), scale=0.1, zero=-3)
        c = make.tflite_conv("c", b, 4, window=Window((1, 1)))
        return graph(x, a, b, c)
    a = with_dead(make.conv("a", x, 9, S8), [0, 3, 4, 8])
    wave = make.lookup("wave", a, S8, rows=9 if seed % 2 else 1)
    b = make.depthwise("b", wave, S8, pad=(1, 1, 1, 1) if padded else (0, 0, 0, 0))
    pooled = Node.make("pooled", MaxPool2d(Window((2, 2), (2, 2))), (b,))
    c = make.conv("c", pooled, 6, S8, kernel=(2, 2), pad=(1, 0, 0, 0) if padded else (0, 0, 0, 0))
    c = with_dead(c, [1, 2])
    mean = make.avgpool("mean", c, S8, kernel=c.output.shape[:2])
    flat = Node.make("flat", Reshape((6,)), (mean,))
    return graph(x, a, wave, b, pooled, c, mean, flat, make.linear("fc", flat, 5, S8))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", ["own", "tflite"])
@pytest.mark.parametrize("seed", range(5))
def test_dead_channels_go_and_no_integer_changes(seed, kind, padded):
    before = chain(seed, kind, padded=padded)
    after = check(drop_constant_channels(before))
    codes = make_inputs(before, samples=30, seed=seed)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    if not padded:
        assert after["a"].output.shape[-1] == 5
        assert after["b"].output.shape[-1] == 5
    if kind == "own":
        assert after["c"].output.shape[-1] == 4
    assert drop_constant_channels(after).dump() == after.dump()


def test_a_border_of_another_code_keeps_the_channel():
    make = MoreMaker(0, 8, zero=1)
    x = input_node((6, 7, 5), S8, 1)
    a = with_dead(make.conv("a", x, 4, S8), [2])
    code = int(a.op.requant.apply(np.zeros(4, np.int64))[2])
    for pad_value in (code, code + 1 if code < 0 else code - 1):
        c = make.conv("c", a, 3, S8)
        c = replace(c, op=replace(c.op, pad_value=pad_value))
        before = graph(x, a, c)
        after = drop_constant_channels(before)
        assert after["a"].output.shape[-1] == (3 if pad_value == code else 4)
        codes = make_inputs(before, samples=20)
        assert np.array_equal(simulate(before, codes), simulate(after, codes))


def test_one_channel_stays_and_shared_tensors_are_left_alone():
    make = MoreMaker(0, 8)
    x = input_node((4, 4, 3), S8)
    a = with_dead(make.conv("a", x, 2, S8), [0, 1])
    before = graph(x, a, make.conv("c", a, 3, S8, kernel=(1, 1), pad=(0, 0, 0, 0)))
    after = drop_constant_channels(before)
    assert after["a"].output.shape[-1] == 1
    codes = make_inputs(before, samples=9)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    joined = graph(x, a, make.add("sum", [a, a], S8))
    assert drop_constant_channels(joined).dump() == joined.dump()
