# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import Maker, graph, input_node

from adaqat.deploy import Graph, IntType, Node, check, simulate
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.passes import run_passes
from adaqat.deploy.passes.cancel_transposes import cancel_transposes
from adaqat.deploy.vectors import make_inputs

U6 = IntType(6, False)


def same(before: Graph, after: Graph) -> None:
    codes = make_inputs(before, samples=12)
    assert np.array_equal(simulate(before, codes), simulate(check(after), codes))
    assert cancel_transposes(after).dump() == after.dump()


def turn(name: str, source: Node, *axes: int) -> Node:
    return Node.make(name, Transpose(axes), (source,))


@pytest.mark.parametrize("first", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("second", [(2, 0, 1), (1, 0, 2), (0, 2, 1)])
def test_two_become_one_over_a_table(first, second):
    make = MoreMaker(1, 4)
    x = input_node((3, 4, 5), U6)
    a = turn("a", x, *first)
    f = make.lookup("f", a, U6)
    rule = make.requantize("g", f, U6).op
    uniform = {n: np.repeat(getattr(rule.requant, n)[:1], f.output.shape[-1]) for n in
               ("bias", "m", "s", "z")}  # fmt: skip
    g = Node.make("g", type(rule)(type(rule.requant)(
        rule.requant.p, lo=rule.requant.lo, hi=rule.requant.hi, **uniform), U6), (f,))  # fmt: skip
    before = graph(x, a, f, g, turn("b", g, *second), name="t")
    after = cancel_transposes(before)
    assert [n.op.kind for n in after.nodes if n.op.kind == "transpose"] in (["transpose"], [])
    same(before, after)


def test_a_pair_vanishes():
    make = Maker(1, 4)
    x = input_node((3, 4, 5), U6)
    a = make.conv("a", x, 5, U6)
    there = turn("there", a, 2, 0, 1)
    back = turn("back", there, 1, 2, 0)
    before = graph(x, a, there, back, make.conv("b", back, 4, U6))
    after = run_passes(before)
    assert [n.name for n in after.nodes] == ["x", "a", "b"]
    same(before, after)


def test_axes_of_size_one_need_no_move():
    make = Maker(1, 4)
    x = input_node((4, 4, 5), U6)
    a = make.conv("a", x, 5, U6, kernel=(4, 4), pad=(0, 0, 0, 0))
    moved = turn("moved", a, 2, 0, 1)
    flat = Node.make("flat", Reshape((5,)), (moved,))
    before = graph(x, a, moved, flat, make.linear("b", flat, 4, U6))
    after = run_passes(before)
    assert [n.name for n in after.nodes] == ["x", "a", "flat", "b"]
    same(before, after)


def test_a_network_of_moves_alone_stays_one():
    x = input_node((1, 4, 5), U6)
    moved = turn("moved", x, 1, 0, 2)
    before = graph(x, moved, Node.make("flat", Reshape((20,)), (moved,)))
    same(before, run_passes(before))


@pytest.mark.parametrize("case", ["shared", "channels"])
def test_what_does_not_commute_stays(case):
    make = MoreMaker(1, 4)
    x = input_node((3, 4, 5), U6)
    a = turn("a", x, 1, 0, 2)
    f = make.lookup("f", a, U6, rows=5 if case == "channels" else 1)
    b = turn("b", f, 1, 0, 2)
    nodes = [x, a, f, b]
    if case == "shared":
        nodes.append(make.add("c", [turn("d", f, 1, 0, 2), b], U6))
        nodes.insert(4, turn("d", f, 1, 0, 2))
    before = graph(*nodes)
    assert cancel_transposes(before).dump() == before.dump()
