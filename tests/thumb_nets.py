# SPDX-License-Identifier: Apache-2.0
"""Networks with every geometry that the kernels of Cortex-M0, M0+ and M3 treat differently."""

from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
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


def others(weight_bits, act_bits, *, signed, extreme=False, seed=0):
    """Groups, one input channel, gaps between taps, one pixel wide, sums and pools."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((9, 8, 1), act, zero)
    first = make.conv("first", x, 9, act)
    tall = make.conv("tall", x, 9, act, kernel=(10, 5), pad=(5, 2, 4, 2))
    join = make.add("join", [first, tall], act)
    groups = make.conv("groups", join, 15, act, groups=3)
    point = make.conv("point", groups, 10, act, kernel=(1, 1), pad=(0, 0, 0, 0), groups=5)
    step = make.conv("step", point, 4, act, kernel=(2, 3), pad=(0, 0, 0, 2), groups=2,
                     dilation=(2, 2), stride=(1, 2))
    most = Node.make("most", MaxPool2d(Window((2, 3), (1, 1), (1, 1), (1, 1, 0, 1))), (step,))
    pair = Node.make("pair", MaxPool2d(Window((2, 2), (1, 1))), (most,))
    mean = make.avgpool("mean", pair, act, kernel=(2, 2), stride=(1, 1))
    sums = make.avgpool("sums", mean, act, kernel=(3, 2), stride=(1, 1), pad=(1, 1, 1, 0))
    both = make.add("both", [sums, mean], act)
    holes = make.depthwise("holes", both, act, kernel=(2, 2), pad=(1, 2, 1, 2), dilation=(2, 3))
    gaps = make.depthwise("gaps", holes, act, kernel=(3, 1), pad=(2, 0, 2, 0), dilation=(2, 1),
                          multiplier=2)
    apart = make.depthwise("apart", gaps, act, kernel=(1, 1), pad=(0, 0, 0, 0), stride=(1, 2))
    tail = make.conv("tail", apart, 7, act, kernel=(1, apart.output.shape[1]), pad=(0, 0, 0, 0))
    line = make.depthwise("line", tail, act, kernel=(3, 1), pad=(2, 0, 1, 0))
    ends = make.depthwise("ends", line, act, kernel=(2, 1), pad=(0, 0, 0, 0), stride=(2, 1))
    flat = Node.make("flat", Reshape((ends.output.size,)), (ends,))
    last = make.linear("last", flat, 6, IntType(8, True))
    return graph(x, first, tall, join, groups, point, step, most, pair, mean, sums, both, holes,
                 gaps, apart, tail, line, ends, flat, last)  # fmt: skip


NETS = {"convolutions": convolutions, "depthwises": depthwises, "others": others}


def one_layer(op, shape, act):
    x = input_node(shape, act)
    return graph(x, Node.make("layer", op, (x,), scale=0.1, zero=0))


def rule_for(weights, act, *, sign=1):
    """Outputs of a layer spread over s8, whatever the weights."""
    low, high = accumulator_bounds(weights.values, act)
    ratio = np.full(len(low), sign * 240.0 / max(1, int((high - low).max())))
    offset = -ratio * (low + high) / 2
    # exact halves in every third channel: ties of the rounding
    ratio[::3] = np.sign(ratio[::3]) * 2.0 ** np.floor(np.log2(np.abs(ratio[::3])))
    offset[::3] = np.round(2 * offset[::3]) / 2
    return snap(ratio, offset, low, high, zero=-3, lo=-128, hi=127)


def worst_conv(bits, act):
    """A convolution whose sums reach the bound of its form: (network, operator)."""
    codes = np.full((4, 1, 1, 256), (1 << bits) - 1, np.uint8)
    weights = Weights(codes, bits, 1, -(1 << (bits - 1)))
    op = Conv2d(weights, rule_for(weights, act), IntType(8, True), Window((1, 1)))
    return one_layer(op, (2, 4, 256), act), op
