# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, simulate
from adaqat.deploy.passes.drop_unused import drop_unused
from adaqat.deploy.vectors import make_inputs


def test_side_roads_go():
    make, act = Maker(0, 4), IntType(6, True)
    x = input_node((5, 6, 4), act)
    a = make.conv("a", x, 3, act)
    side = make.conv("side", a, 3, act)
    more = make.conv("more", side, 3, act)
    y = make.conv("y", a, 3, act)
    before = graph(x, a, side, more, y)
    after = drop_unused(before)
    assert [node.name for node in after.nodes] == ["x", "a", "y"]
    codes = make_inputs(before, samples=9)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    assert drop_unused(after).dump() == after.dump()
