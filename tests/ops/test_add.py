# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Maker, input_node

from adaqat.deploy import IntType, Node, UnsupportedError
from adaqat.deploy.ops.add import Add
from adaqat.deploy.requant import T_LIMIT, snap_add


@settings(max_examples=100, deadline=None)
@given(
    ratios=st.lists(st.floats(1e-4, 200), min_size=2, max_size=3),
    bits=st.integers(1, 8),
    signed=st.booleans(),
    zero=st.integers(-3, 3),
    seed=st.integers(0, 1000),
)
def test_rule_equals_slow_loops_and_rounds_the_real_sum(ratios, bits, signed, zero, seed):
    rng = np.random.default_rng(seed)
    type_ = IntType(bits, signed)
    zeros = [0, 1, -1][: len(ratios)]
    ranges = [(type_.lo, type_.hi)] * len(ratios)
    rule = snap_add(ratios, ranges, input_zeros=zeros, zero=zero, lo=-128, hi=127)
    assert rule.bound(ranges) <= T_LIMIT
    inputs = [rng.integers(type_.lo, type_.hi + 1, (1, 40)) for _ in ratios]
    result = Add(rule, IntType(8, True)).run(inputs)
    assert np.array_equal(result, reference.add(inputs, rule))
    real = sum(r * (x - z) for r, x, z in zip(ratios, inputs, zeros, strict=True)) + zero
    assert np.abs(result - np.clip(real, -128, 127)).max() <= 0.6


def test_shapes_must_be_equal():
    a, b = (input_node((4, 4, c), IntType(8, False)) for c in (3, 4))
    op = Maker(0, 4).add("a", [a, a], IntType(8, True)).op
    with pytest.raises(UnsupportedError, match="no broadcasting"):
        Node.make("a", op, (a, b))


def test_ratio_beyond_int32_names_the_node():
    with pytest.raises(UnsupportedError, match=r"block\.join: input ranges 1e\+07"):
        snap_add([1e7, 1.0], [(0, 255)] * 2, input_zeros=[0, 0], zero=0, lo=0, hi=255,
                 name="block.join")  # fmt: skip
