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
    act=st.integers(1, 8), signed=st.booleans(), out=st.integers(1, 8), seed=st.integers(0, 1000)
)
def test_simulator_equals_slow_loops(act, signed, out, seed):
    x = input_node((3, 2, 4), IntType(act, signed))
    node = Maker(seed, 1).requantize("r", x, IntType(out, seed % 2 == 0))
    net = graph(x, node)
    codes = make_inputs(net, samples=8, seed=seed)
    slow = np.array(
        [
            reference.requant(int(codes[index]), node.op.requant, index[-1])
            for index in np.ndindex(*codes.shape)
        ]
    ).reshape(codes.shape)
    assert np.array_equal(simulate(net, codes), slow)


def test_one_constant_per_channel():
    x = input_node((3, 2, 4), IntType(8, False))
    other = input_node((3, 2, 5), IntType(8, False))
    op = Maker(0, 1).requantize("r", x, IntType(8, True)).op
    with pytest.raises(UnsupportedError, match="4 requantisation constants for 5 channels"):
        op.infer([other.output])
