# SPDX-License-Identifier: Apache-2.0
"""Networks for the DSP kernels: every loop, rest and border of each operator."""

from __future__ import annotations

from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node
from adaqat.deploy.ops.source import Reshape


def convolutions(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Odd sizes and channel counts, strides, dilation, uneven padding, an odd pixel count."""
    zero = -1 if signed and act_bits > 1 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((9, 7, 3), act, zero)
    a = make.conv("first", x, 7, act, pad=(1, 1, 1, 1))
    b = make.conv("point", a, 10, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    c = make.conv("wide", b, 5, act, kernel=(3, 3), dilation=(2, 2), pad=(2, 2, 2, 2))
    d = make.conv("uneven", c, 13, act, kernel=(3, 2), stride=(2, 1), pad=(1, 0, 0, 2))
    e = make.conv("strided", d, 1, act, kernel=(1, 1), stride=(2, 2), pad=(0, 0, 0, 0))
    f = make.conv("single", e, 6, act, kernel=(3, 3), pad=(1, 1, 1, 1))
    g = make.conv("grouped", f, 9, act, kernel=(2, 2), groups=3, pad=(1, 1, 1, 1))
    h = make.conv("valid", g, 5, act, kernel=(2, 3), pad=(0, 0, 0, 0))
    return graph(x, a, b, c, d, e, f, g, h)


def one_channel(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Runs of bytes that are read past their end, with and without padding."""
    make = Maker(seed, weight_bits, extreme=extreme)
    act = IntType(act_bits, signed)
    x = input_node((22, 19, 1), act)
    a = make.conv("bands", x, 1, act)
    b = make.conv("strided", a, 1, act, stride=(2, 2))
    c = make.conv("wide", b, 1, act, stride=(1, 2), pad=(2, 1, 0, 2))
    d = make.conv("valid", c, 1, act, pad=(0, 0, 0, 0))
    e = make.conv("tall", d, 1, act, kernel=(3, 2))
    f = make.conv("same", e, 5, act)
    g = make.conv("five", f, 3, act, pad=(1, 0, 0, 1))
    return graph(x, a, b, c, d, e, f, g)


def rows(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Fully connected layers of every count of rows and inputs left over, and a lone pixel."""
    make = Maker(seed, weight_bits, extreme=extreme)
    act = IntType(act_bits, signed)
    nodes = [input_node((2, 3, 7), act)]
    nodes.append(make.conv("lone", nodes[-1], 61, act, kernel=(2, 3), pad=(0, 0, 0, 0)))
    nodes.append(Node.make("flat", Reshape((61,)), (nodes[-1],)))
    for outputs in (59, 38, 17, 4, 1, 6):
        nodes.append(make.linear(f"to{outputs}", nodes[-1], outputs, act))
    return graph(*nodes)


def depthwise(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Widths below and above the unrolled ones, even and odd, strides, uneven padding."""
    zero = 1 if signed and act_bits > 1 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    nodes = [input_node((6, 21, 3), act, zero)]
    for name, more in {
        "same": {}, "valid": {"pad": (0, 0, 0, 0)}, "wider": {"pad": (2, 1, 0, 2)},
        "doubled": {"multiplier": 2}, "down": {"stride": (2, 2), "pad": (0, 0, 1, 1)},
        "narrow": {"stride": (1, 2)}, "single": {"stride": (2, 2), "pad": (1, 0, 1, 0)},
        "tall": {"kernel": (2, 1), "pad": (1, 0, 0, 0)},
        "large": {"kernel": (4, 5), "pad": (2, 2, 2, 2), "multiplier": 2},
        "apart": {"kernel": (2, 3), "dilation": (2, 2), "stride": (1, 3), "pad": (1, 3, 1, 3)},
    }.items():  # fmt: skip
        nodes.append(make.depthwise(name, nodes[-1], act, **more))
    return graph(*nodes)


def windows(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Depthwise windows of every way to run a kernel row: dense, sliding, apart, one by one."""
    zero = -1 if signed and act_bits > 1 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    nodes = [input_node((9, 18, 3), act, zero)]
    for name, more in {
        "five": {"kernel": (5, 5), "pad": (2, 2, 2, 2)},
        "even": {"kernel": (3, 4), "pad": (1, 1, 1, 2)},
        "phases": {"dilation": (2, 2), "pad": (2, 2, 2, 2)},
        "three": {"dilation": (1, 3), "pad": (1, 3, 1, 3), "multiplier": 2},
        "apart": {"kernel": (2, 4), "dilation": (1, 5), "pad": (0, 7, 1, 7)},
        "sliding": {"kernel": (5, 5), "stride": (2, 2), "pad": (2, 1, 2, 2)},
        "threes": {"kernel": (2, 5), "stride": (1, 3), "pad": (0, 4, 1, 5), "multiplier": 50},
        "skips": {"kernel": (2, 3), "stride": (1, 2), "dilation": (1, 2), "pad": (0, 2, 1, 2)},
        "long": {"kernel": (6, 9), "pad": (3, 4, 3, 4)},
        "wide": {"kernel": (1, 1), "pad": (0, 0, 0, 0)},
    }.items():  # fmt: skip
        nodes.append(make.depthwise(name, nodes[-1], act, **more))
    return graph(*nodes)


def strides(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Four channels at a time, stride two: every first column, bands, channels left over."""
    zero = 1 if signed and act_bits > 1 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((37, 30, 5), act, zero)
    nodes = [x, make.depthwise("bands", x, act, stride=(2, 2), pad=(1, 1, 1, 1))]
    for number, more in enumerate((
        {"pad": (0, 0, 1, 1)}, {"pad": (1, 1, 0, 0)}, {"pad": (2, 2, 0, 1), "stride": (1, 2)},
        {"pad": (0, 3, 2, 2)}, {"pad": (0, 0, 0, 0), "multiplier": 2}, {"pad": (1, 5, 1, 4)},
    )):  # fmt: skip
        source = nodes[1] if number < 4 else nodes[-1]
        nodes.append(make.depthwise(f"n{number}", source, act, **{"stride": (2, 2), **more}))
    nodes.append(make.depthwise("wide", x, act, stride=(2, 2), pad=(0, 40, 0, 40)))
    nodes.append(make.depthwise("one", nodes[6], act, stride=(1, 2), pad=(1, 2, 1, 2)))
    return graph(*nodes)


def column(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """An image of one column, narrower than its windows; a 2x2 map under a padded 3x3."""
    make = Maker(seed, weight_bits, extreme=extreme)
    act = IntType(act_bits, signed)
    nodes = [input_node((17, 1, 5), act)]
    for name, more in {
        "lying": {"kernel": (9, 1), "pad": (4, 0, 4, 0)},
        "down": {"kernel": (5, 1), "stride": (2, 1), "pad": (2, 0, 2, 0)},
        "narrow": {"kernel": (3, 3), "stride": (2, 1)},
        "less": {"kernel": (4, 3), "stride": (2, 2), "pad": (2, 1, 2, 2)},
        "small": {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 0, 1)},
        "tiny": {"kernel": (3, 3)},
        "conv": None,
    }.items():  # fmt: skip
        nodes.append(make.depthwise(name, nodes[-1], act, **more) if more is not None
                     else make.conv(name, nodes[-1], 3, act))  # fmt: skip
    return graph(*nodes)


def sums(weight_bits, act_bits, *, signed=False, extreme=False, seed=0):
    """Sums of tensors of equal and of different types, element counts left over, zero points."""
    zero = -2 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((3, 7, 5), act, zero)
    a = make.conv("conv", x, 5, IntType(8, True))
    b = make.add("mixed", [a, x], act)
    c = make.add("twice", [b, b], IntType(8, False))
    return graph(x, a, b, c)


NETS = [convolutions, one_channel, rows, depthwise, windows, strides, column, sums]
