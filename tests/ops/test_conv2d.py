# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, UnsupportedError, simulate
from adaqat.deploy.vectors import make_inputs


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 8),
    act=st.integers(1, 8),
    signed=st.booleans(),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pad=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.sampled_from([1, 2, 4]),
    extreme=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_simulator_equals_slow_loops(
    bits, act, signed, kernel, stride, dilation, pad, groups, extreme, seed
):
    type_ = IntType(act, signed)
    x = input_node((5, 6, 4), type_, zero=-1 if signed else 0)
    make = Maker(seed, bits, extreme=extreme)
    node = make.conv("c", x, 4, IntType(8, seed % 2 == 0), kernel=kernel, stride=stride,
                     dilation=dilation, pad=pad, groups=groups)  # fmt: skip
    net = graph(x, node)
    codes = make_inputs(net, samples=3, seed=seed)
    assert np.array_equal(simulate(net, codes), reference.convolution(codes, node.op, groups))


def test_large_sums_stay_exact():
    # 8-bit codes over 4608 inputs exceed the 2^24 that float32 holds exactly
    x = input_node((3, 3, 512), IntType(8, False))
    make = Maker(0, 8, extreme=True)
    node = make.conv("c", x, 2, IntType(8, True), pad=(0, 0, 0, 0))
    net = graph(x, node)
    codes = make_inputs(net, samples=4)
    assert np.array_equal(simulate(net, codes), reference.convolution(codes, node.op, 1))


def test_channels_must_match():
    x = input_node((5, 5, 3), IntType(8, False))
    wrong = input_node((5, 5, 4), IntType(8, False))
    node = Maker(0, 4).conv("c", x, 4, IntType(8, True))
    with pytest.raises(UnsupportedError, match="4 input channels in 1 groups"):
        node.op.infer([wrong.output])


def test_image_smaller_than_kernel():
    x = input_node((2, 5, 3), IntType(8, False))
    with pytest.raises(UnsupportedError, match=r"input 2x5 smaller than the kernel \(3, 3\)"):
        Maker(0, 4).conv("c", x, 4, IntType(8, True), pad=(0, 0, 0, 0))
