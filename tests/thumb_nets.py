# SPDX-License-Identifier: Apache-2.0
"""Networks with every geometry that the kernels of Cortex-M0, M0+ and M3 treat differently."""

from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.weighted import accumulator_bounds
from adaqat.deploy.requant import snap

TARGETS = ("cortex-m0plus", "cortex-m3")


def convolutions(weight_bits, act_bits, *, signed, extreme=False, seed=0):
    """Every geometry in a chain: odd sizes and channels, strides, dilation, borders, few pixels."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((9, 11, 3), act, zero)
    first = make.conv("first", x, 10, act)
    wide = make.conv("wide", first, 9, act, kernel=(3, 2), pad=(2, 0, 0, 1))
    point = make.conv("point", wide, 8, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    beyond = make.conv("beyond", point, 6, act, kernel=(1, 2), pad=(1, 3, 0, 4))
    step = make.conv("step", beyond, 17, act, stride=(2, 2), pad=(0, 0, 1, 1))
    holes = make.conv("holes", step, 4, act, dilation=(1, 2), pad=(0, 1, 1, 2))
    tall = make.conv("tall", holes, 3, act, kernel=(3, 1), pad=(1, 0, 1, 0), stride=(1, 2))
    last = make.conv("last", tall, 5, act, kernel=(2, 2), pad=(0, 0, 0, 0))
    few = make.conv("few", last, 2, act, kernel=(2, 1), stride=(2, 1), pad=(0, 0, 0, 0))
    whole = make.conv("whole", few, 6, act, kernel=few.output.shape[:2], pad=(0, 0, 0, 0))
    flat = Node.make("flat", Reshape((whole.output.size,)), (whole,))
    row = make.linear("row", flat, 7, act)
    one = make.linear("one", row, 1, IntType(8, True))
    return graph(x, first, wide, point, beyond, step, holes, tall, last, few, whole, flat, row, one)


def depthwises(weight_bits, act_bits, *, signed, extreme=False, seed=0):
    """Depthwise geometries, a wide linear layer and one with an even number of rows."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((11, 9, 5), act, zero)
    plain = make.depthwise("plain", x, act)
    step = make.depthwise("step", plain, act, stride=(2, 1), pad=(0, 1, 1, 1))
    even = make.depthwise("even", step, act, kernel=(2, 2), pad=(0, 0, 1, 1), multiplier=2)
    long = make.depthwise("long", even, act, kernel=(1, 5), pad=(0, 2, 0, 2))
    big = make.depthwise("big", long, act, kernel=(5, 4), pad=(2, 2, 2, 1), stride=(2, 2))
    line = make.depthwise("line", big, act, kernel=(3, 3), pad=(0, 1, 0, 1))
    flat = Node.make("flat", Reshape((line.output.size,)), (line,))
    wide = make.linear("wide", flat, 21, act)
    last = make.linear("last", wide, 8, act)
    return graph(x, plain, step, even, long, big, line, flat, wide, last)


NETS = {"convolutions": convolutions, "depthwises": depthwises}


def one_layer(op, shape, act):
    x = input_node(shape, act)
    return graph(x, Node.make("layer", op, (x,), scale=0.1, zero=0))


def rule_for(weights, act, *, sign=1):
    """Outputs of a layer spread over s8, whatever the weights."""
    low, high = accumulator_bounds(weights.values, act)
    ratio = np.full(len(low), sign * 240.0 / max(1, int((high - low).max())))
    return snap(ratio, -ratio * (low + high) / 2, low, high, zero=-3, lo=-128, hi=127)
