# SPDX-License-Identifier: Apache-2.0
"""Graphs of this project's rule written as .tflite: what stays exact and how much differs.

``pytest -s`` prints the counts of the layers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import Maker, graph, input_node
from tflite_check import differences, exact, joined

from adaqat.deploy import IntType, Node, UnsupportedError, load
from adaqat.deploy.frontends.tflite_export import tflite_bytes
from adaqat.deploy.litert import compare_export
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.shipped import shipped_model, shipped_test_split

S8, U8 = IntType(8, True), IntType(8, False)
WEIGHTED = ("conv", "grouped", "depthwise", "transposed", "dilated", "linear")


def weighted_net(kind: str, bits: int, act: IntType):
    zero = 1 if act.signed and act.bits > 2 else 0
    make = MoreMaker(3, bits, zero=zero)
    make.count = bits % 2  # both grids in turn
    x = input_node((40,) if kind == "linear" else (7, 6, 4), act, zero)
    match kind:
        case "conv":
            node = make.conv("layer", x, 6, act)
        case "grouped":
            node = make.conv("layer", x, 6, act, kernel=(3, 2), stride=(2, 1), dilation=(1, 2),
                             pad=(1, 0, 2, 1), groups=2)  # fmt: skip
        case "depthwise":
            node = make.depthwise("layer", x, act, stride=(2, 1), pad=(0, 1, 1, 1), multiplier=2)
        case "transposed":
            node = make.conv_transpose("layer", x, 6, act, groups=2)
        case "dilated":
            node = make.conv_transpose("layer", x, 4, act, kernel=(2, 3), gap=(1, 1),
                                       pad=(0, 1, 1, 2), dilation=(1, 2))  # fmt: skip
        case _:
            node = make.linear("layer", x, 9, act)
    return graph(x, node)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("kind", WEIGHTED)
def test_layers_of_every_width(kind, bits):
    """A third of these channels has most results exactly between two codes."""
    counts: list[int] = []
    for act in (S8, U8, IntType(4, False), IntType(3, True), IntType(1, False)):
        net = weighted_net(kind, bits, act)
        if net.nodes[1].op.weights.values.min() < -128:
            with pytest.raises(UnsupportedError, match=r"weights from -2\d\d to"):
                tflite_bytes(net)
            continue
        node = differences(net, 8)["nodes"]["layer"]
        assert node["largest"] <= 1
        assert node["differences"] <= (0.02 if kind == "linear" else 0.08) * node["values"]
        counts += [node["values"], node["differences"]]
    print(f"{kind}, {bits} bits: {sum(counts[1::2])} of {sum(counts[::2])} codes differ")


@pytest.mark.parametrize("act", [S8, U8, IntType(5, True), IntType(2, False)], ids=str)
def test_what_is_exact(act):
    """Everything that moves codes, tables, changes of grid; windows that leave out nothing."""
    make = MoreMaker(5, 8, zero=1 if act.signed else 0)
    zero = 1 if act.signed else 0
    x = input_node((6, 5, 4), act, zero)
    rule = make.requantize("regrid", x, act)
    wave = make.lookup("wave", rule, act, rows=4)
    one = make.lookup("one", wave, act)
    most = Node.make("most", MaxPool2d(Window((3, 2), (2, 1), (1, 1), (1, 0, 1, 1))), (one,))
    same = Node.make("same", MaxPool2d(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))), (most,))
    border = Node.make("border", Pad((1, 0, 0), (0, 2, 1), act.hi), (same,))
    edge = Node.make("edge", Pad((0, 1, 0), (0, 0, 0), border.output.zero), (border,))
    both = Node.make("both", Concat(), (edge, edge))
    rows, columns, channels = both.output.shape
    part = Node.make("part", Slice((1, 1, 0), (2, columns // 2, channels - 1), (1, 2, 1)), (both,))
    plain = Node.make("plain", Slice((0, 1, 0), (2, 2, channels - 1), (1, 1, 1)), (part,))
    near = Node.make("near", UpsampleNearest((4, 6)), (plain,))
    turned = Node.make("turned", Transpose((2, 0, 1)), (near,))
    flat = Node.make("flat", Reshape((turned.output.size // 4, 4)), (turned,))
    last = Node.make("last", ArgMax(), (flat,), scale=1.0, zero=0)
    assert rows > 2
    exact(graph(x, rule, wave, one, most, same, border, edge, both, part, plain, near, turned, flat,
                last))  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1], ids=["sum", "difference"])
@pytest.mark.parametrize("act", [S8, U8], ids=str)
def test_joins(act, sign):
    nodes = differences(joined(act, sign=sign), 24)["nodes"]
    for name, part in (("total", 0.1), ("product", 0.06), ("fine", 0.2), ("finer", 0.25)):
        assert nodes[name]["largest"] <= (9 if name == "product" else 2)  # a code of y is 8 / 3
        assert nodes[name]["differences"] <= part * nodes[name]["values"], name


def test_softmax():
    x = input_node((5, 12), S8, 2)
    net = graph(x, Node.make("soft", Softmax.of(x.output), (x,), scale=1 / 256, zero=0))
    node = differences(net, 60)["nodes"]["soft"]
    assert node["largest"] <= 1 and node["differences"] < 0.02 * node["values"]


def test_averages():
    for act in (S8, U8, IntType(4, False)):
        make = Maker(6, 8)
        x = input_node((7, 6, 4), act)
        for window in ({"kernel": (2, 2), "stride": (1, 1), "pad": (0, 0, 0, 1)},
                       {"kernel": (7, 6)}, {"kernel": (3, 3)}):  # fmt: skip
            node = differences(graph(x, make.avgpool("mean", x, act, **window)))["nodes"]["mean"]
            assert node["largest"] <= 1 and node["differences"] <= 0.005 * node["values"]


def test_constant_channels_and_a_negated_lowest_weight():
    act = IntType(8, True)
    x = input_node((5, 5, 2), act)
    make = Maker(1, 8)
    make.count = 1
    weights = make.weights((3, 3, 3, 2))
    codes = weights.codes.copy()
    codes[1, 0, 0, 0] = 0
    weights = Weights(codes, 8, 1, -128)
    rule = make.requant(weights.values, act, act, 0)
    rule = replace(rule, m=np.abs(rule.m) * [0, -1, 1], z=np.array([77, 0, 0]))
    op = Conv2d(weights, rule, act, Window((3, 3)), 1, 0)
    net = graph(x, Node.make("layer", op, (x,), scale=0.1, zero=0))
    node = differences(net)["nodes"]["layer"]
    assert node["largest"] <= 1 and 0 < node["differences"] < 0.2 * node["values"]


def test_the_shipped_network_keeps_its_answers():
    net, codes = load(shipped_model()), shipped_test_split()[0]
    data, exported = tflite_bytes(net)
    found = compare_export(net, data, exported, codes)
    print({key: value for key, value in found.items() if key != "nodes"})
    assert found["same_top"] == found["samples"] == len(codes)
    first = found["nodes"][net.nodes[1].name]
    assert 0 < first["differences"] < 0.001 * first["values"] and first["largest"] == 1
