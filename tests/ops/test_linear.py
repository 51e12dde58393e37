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
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 7),
    extreme=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_simulator_equals_slow_loops(bits, act, signed, inputs, outputs, extreme, seed):
    x = input_node((inputs,), IntType(act, signed))
    node = Maker(seed, bits, extreme=extreme).linear("fc", x, outputs, IntType(8, True))
    net = graph(x, node)
    codes = make_inputs(net, samples=9, seed=seed)
    assert np.array_equal(simulate(net, codes), reference.linear(codes, node.op))


def test_map_must_be_flattened_first():
    flat = input_node((12,), IntType(8, False))
    image = input_node((2, 2, 3), IntType(8, False))
    node = Maker(0, 4).linear("fc", flat, 2, IntType(8, True))
    with pytest.raises(UnsupportedError, match="flatten before it"):
        node.op.infer([image.output])
