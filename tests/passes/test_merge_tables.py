# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, simulate
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.passes.merge_tables import merge_tables
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("seed", range(6))
def test_chains_become_one_table(seed):
    make = MoreMaker(seed, 4)
    types = [IntType(int(make.rng.integers(1, 9)), bool(make.rng.integers(2))) for _ in range(4)]
    x = input_node((3, 4, 5), types[0])
    a = make.lookup("a", x, types[1], rows=1 if seed % 2 else 5)
    b = make.requantize("b", a, types[2]) if seed % 3 else make.lookup("b", a, types[2])
    c = make.lookup("c", b, types[3])
    before = graph(x, a, b, c)
    after = merge_tables(before)
    assert [node.name for node in after.nodes] == ["x", "c"]
    codes = make_inputs(before, samples=30)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    assert merge_tables(after).dump() == after.dump()


def test_what_others_read_stays():
    make = MoreMaker(0, 4)
    act = IntType(6, True)
    x = input_node((3, 4, 5), act)
    a = make.lookup("a", x, act)
    b = make.lookup("b", a, act)
    before = graph(x, a, b, make.add("c", [a, b], act))
    assert merge_tables(before).dump() == before.dump()


def test_requantisers_alone_stay():
    make = MoreMaker(0, 4)
    x = input_node((3, 4, 5), IntType(8, True))
    a = make.requantize("a", x, IntType(6, True))
    before = graph(x, a, make.requantize("b", a, IntType(5, False)))
    after = merge_tables(before)
    assert not any(isinstance(node.op, Lookup) for node in after.nodes)
