# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, simulate
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.requantize import Requantize
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.passes.drop_identity import drop_identity
from adaqat.deploy.passes.drop_unused import drop_unused
from adaqat.deploy.requant import snap
from adaqat.deploy.vectors import make_inputs


def regrid(ratio: float, type_: IntType) -> Requantize:
    low, high = np.full(3, type_.lo), np.full(3, type_.hi)
    rule = snap(np.full(3, ratio), np.zeros(3), low, high, zero=0, lo=type_.lo, hi=type_.hi)
    return Requantize(rule, type_)


def test_identities_go_and_nothing_else_changes():
    type_ = IntType(6, True)
    x = input_node((4, 4, 3), type_)
    same = Node.make("same", regrid(1.0, type_), (x,))
    shape = Node.make("shape", Reshape((4, 4, 3)), (same,))
    half = Node.make("half", regrid(0.5, type_), (shape,))
    conv = Maker(0, 4).conv("c", half, 4, IntType(8, True))
    flat = Node.make("flat", Reshape((64,)), (conv,))
    before = graph(x, same, shape, half, conv, flat)
    after = drop_identity(before)
    assert [n.name for n in after.nodes] == ["x", "half", "c", "flat"]
    codes = make_inputs(before, samples=20)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    assert drop_identity(after).dump() == after.dump()


def test_moves_that_move_nothing_go():
    type_ = IntType(6, True)
    x = input_node((4, 4, 3), type_)
    codes = np.arange(-32, 32)[None]
    nodes = [x]
    for name, op in (
        ("slice", Slice((0, 0, 0), (4, 4, 3), (1, 1, 1))),
        ("pad", Pad((0, 0, 0), (0, 0, 0), 5)),
        ("turn", Transpose((0, 1, 2))),
        ("cat", Concat()),
        ("pool", MaxPool2d(Window((1, 1)))),
        ("near", UpsampleNearest((4, 4))),
        ("table", Lookup(codes, type_)),
        ("one", Reshape((16, 3))),
        ("two", Reshape((4, 4, 3))),
    ):
        nodes.append(Node.make(name, op, (nodes[-1],)))
    before = graph(*nodes, Maker(0, 4).conv("c", nodes[-1], 4, IntType(8, True)))
    after = drop_unused(drop_identity(before))
    assert [n.name for n in after.nodes] == ["x", "c"]
    inputs = make_inputs(before, samples=20)
    assert np.array_equal(simulate(before, inputs), simulate(after, inputs))
