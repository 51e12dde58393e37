# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, UsageError, check, simulate
from adaqat.deploy.graph import Graph
from adaqat.deploy.ops.source import Input, Reshape
from adaqat.deploy.vectors import make_inputs


def test_flatten_keeps_channels_last_order():
    x = input_node((2, 3, 4), IntType(8, False))
    flat = Node.make("flat", Reshape((24,)), (x,))
    net = graph(x, flat, Maker(0, 8).linear("fc", flat, 2, IntType(8, True)))
    codes = make_inputs(net, samples=3)
    kept = simulate(net, codes, keep=True)
    assert np.array_equal(kept["flat"], codes.reshape(3, 24))


def test_reshape_keeps_the_number_of_elements():
    x = input_node((2, 3, 4), IntType(8, False))
    with pytest.raises(UnsupportedError, match="the number of elements must stay"):
        Node.make("flat", Reshape((25,)), (x,))


def test_layout_names():
    with pytest.raises(UnsupportedError, match="'HWC'; NCHW, NCL, NHWC and NC"):
        Node.make("x", Input((2, 2, 1), IntType(8, False), "HWC"), ())


def test_a_network_that_computes_nothing_is_refused():
    x = input_node((2, 3, 4), IntType(8, False))
    flat = Node.make("flat", Reshape((24,)), (x,))
    with pytest.raises(UnsupportedError, match="the output is the input itself"):
        check(Graph("t", (x, flat), "flat"))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((1, 2, 3, 4)), "integer codes are expected"),
        (np.zeros((1, 2, 3, 5), int), r"\[N, 2, 3, 4\]"),
        (np.full((1, 2, 3, 4), 16), r"codes 16\.\.16; u4 holds 0\.\.15"),
    ],
)
def test_wrong_input_codes(codes, message):
    x = input_node((2, 3, 4), IntType(4, False))
    net = graph(x, Maker(0, 4).conv("c", x, 2, IntType(4, False)))
    with pytest.raises(UsageError, match=message):
        simulate(net, codes)
