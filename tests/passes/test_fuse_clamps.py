# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker, _add
from nets import graph, input_node

from adaqat.deploy import IntType, Node, check, simulate
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.ops.tflite_avgpool2d import TfliteAvgPool2d
from adaqat.deploy.passes.fuse_clamps import fuse_clamps
from adaqat.deploy.vectors import make_inputs

S8 = IntType(8, True)


def limit(name: str, source: Node, low: int, high: int) -> Node:
    table = np.clip(np.arange(-128, 128), low, high)[None].astype(np.int64)
    return Node.make(name, Lookup(table, S8), (source,))


def layer(kind: str, make: MoreMaker, x: Node) -> Node:
    match kind:
        case "conv":
            return make.conv("a", x, 6, S8)
        case "tflite_conv":
            return make.tflite_conv("a", x, 6)
        case "add":
            return make.add("a", [x, x], S8)
        case "mul":
            return make.mul("a", x, x, S8)
        case "tflite_add":
            return Node.make("a", _add("double", 1), (x, x), scale=0.1, zero=4)
        case "requantize":
            return make.requantize("a", x, S8)
        case "pool":
            return Node.make("a", TfliteAvgPool2d(Window((2, 2)), -100, 90), (x,))
    return make.bilinear("a", x, S8, (9, 7), 0)


@pytest.mark.parametrize(
    "kind", ["conv", "tflite_conv", "add", "mul", "tflite_add", "requantize", "pool", "bilinear"]
)
@pytest.mark.parametrize("ends", [(-20, 127), (-128, 30), (-7, 9)])
def test_limits_join_the_layer(kind, ends):
    make = MoreMaker(3, 5)
    x = input_node((4, 5, 6), S8, 1)
    a = layer(kind, make, x)
    before = graph(x, a, limit("b", a, *ends))
    after = check(fuse_clamps(before))
    assert [(n.name, n.op.kind) for n in after.nodes[1:]] == [("b", a.op.kind)]
    codes = make_inputs(before, samples=20)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    assert fuse_clamps(after).dump() == after.dump()


@pytest.mark.parametrize("case", ["shared", "table", "apart"])
def test_others_stay(case):
    make = MoreMaker(3, 5)
    x = input_node((4, 5, 6), S8, 1)
    a = make.conv("a", x, 6, S8)
    if case == "table":
        b = make.lookup("b", a, S8)
    elif case == "apart":  # limits that do not meet the layer's
        pool = Node.make("a", TfliteAvgPool2d(Window((1, 1)), -100, -90), (x,))
        a, b = pool, limit("b", pool, 5, 9)
    else:
        b = limit("b", a, -3, 9)
    nodes = [x, a, b]
    if case == "shared":
        nodes.append(make.add("c", [a, b], S8))
    before = graph(*nodes)
    assert fuse_clamps(before).dump() == before.dump()
