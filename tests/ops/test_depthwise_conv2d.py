# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, UnsupportedError, simulate
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.vectors import make_inputs


@settings(max_examples=40, deadline=None)
@given(
    bits=st.integers(1, 8),
    act=st.integers(1, 8),
    signed=st.booleans(),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pad=st.tuples(*[st.integers(0, 1)] * 4),
    multiplier=st.integers(1, 3),
    extreme=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_simulator_equals_slow_loops(
    bits, act, signed, kernel, stride, pad, multiplier, extreme, seed
):
    x = input_node((5, 4, 3), IntType(act, signed), zero=-1 if signed else 0)
    make = Maker(seed, bits, extreme=extreme)
    node = make.depthwise("d", x, IntType(8, True), kernel=kernel, stride=stride, pad=pad,
                          multiplier=multiplier)  # fmt: skip
    net = graph(x, node)
    codes = make_inputs(net, samples=3, seed=seed)
    assert np.array_equal(simulate(net, codes), reference.convolution(codes, node.op, 3))


def test_weights_of_a_full_convolution_are_refused():
    x = input_node((5, 5, 3), IntType(8, False))
    full = Maker(0, 4).conv("c", x, 3, IntType(8, True)).op
    op = DepthwiseConv2d(full.weights, full.requant, full.out_type, full.window)
    with pytest.raises(UnsupportedError, match="OHW1 is supported"):
        op.infer([x.output])
