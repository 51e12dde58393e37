# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, simulate
from adaqat.deploy.ops.requantize import Requantize
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.passes.drop_identity import drop_identity
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
