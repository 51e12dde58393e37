# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, check, simulate
from adaqat.deploy.graph import Graph
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.vectors import make_inputs

GEOMETRY = dict(
    act=st.integers(1, 8),
    signed=st.booleans(),
    kernel=st.tuples(st.integers(2, 3), st.integers(2, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pad=st.tuples(*[st.integers(0, 1)] * 4),
    seed=st.integers(0, 1000),
)


@settings(max_examples=40, deadline=None)
@given(**GEOMETRY)
def test_maxpool_equals_slow_loops(act, signed, kernel, stride, pad, seed):
    x = input_node((5, 6, 3), IntType(act, signed))
    node = Node.make("m", MaxPool2d(Window(kernel, stride, (1, 1), pad)), (x,))
    net = graph(x, node)
    codes = make_inputs(net, samples=3, seed=seed)
    slow = reference.pool(codes, node.op, lambda inside, outside: max(inside))
    assert np.array_equal(simulate(net, codes), slow)


@settings(max_examples=40, deadline=None)
@given(**GEOMETRY)
def test_avgpool_equals_slow_loops(act, signed, kernel, stride, pad, seed):
    x = input_node((5, 6, 3), IntType(act, signed), zero=-1 if signed else 0)
    node = Maker(seed, 1).avgpool(
        "a", x, IntType(8, True), kernel=kernel, stride=stride, pad=pad
    )
    net = graph(x, node)
    codes = make_inputs(net, samples=3, seed=seed)
    op = node.op
    slow = reference.pool(
        codes, op,
        lambda inside, outside: reference.requant(sum(inside) + outside * op.pad_value,
                                                  op.requant, 0),
    )  # fmt: skip
    assert np.array_equal(simulate(net, codes), slow)


def test_padding_as_large_as_the_window_is_refused():
    x = input_node((5, 6, 3), IntType(8, False))
    node = Node.make("m", MaxPool2d(Window((2, 2), (1, 1), (1, 1), (2, 0, 0, 0))), (x,))
    with pytest.raises(UnsupportedError, match=r"padding .* as large as the window"):
        check(Graph("t", (x, node), "m"))
