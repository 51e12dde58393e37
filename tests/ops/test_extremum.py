# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.extremum import Extremum
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("type_", [IntType(8, True), IntType(3, False), IntType(16, True)])
def test_extremum(type_, largest, count):
    make = Maker(1, 4)
    x = input_node((3, 4, 5), IntType(8, True))
    parts = [make.conv(f"c{i}", x, 6, type_) for i in range(count)]
    net = graph(x, *parts, Node.make("m", Extremum(largest), tuple(parts)))
    codes = make_inputs(net, samples=20)
    values = simulate(net, codes, keep=True)
    flat = [values[p.name].reshape(-1).tolist() for p in parts]
    wanted = [(max if largest else min)(column) for column in zip(*flat, strict=True)]
    assert values["m"].reshape(-1).tolist() == wanted
    assert compare_host(layout(net, get("c99"), "net"), codes).mismatches == 0


@pytest.mark.parametrize(
    ("channels", "act", "message"),
    [(5, IntType(8, True), "shapes"), (6, IntType(4, True), "2 different grids")],
)
def test_mistakes(channels, act, message):
    make = Maker(1, 4)
    x = input_node((3, 4, 5), IntType(8, True))
    a, b = make.conv("a", x, 6, IntType(8, True)), make.conv("b", x, channels, act)
    with pytest.raises(UnsupportedError, match=f"extremum: .*{message}"):
        Node.make("m", Extremum(1), (a, b))
