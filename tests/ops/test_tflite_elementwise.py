# SPDX-License-Identifier: Apache-2.0
"""Formulas of ``tflite_add`` and ``tflite_mul``; equality with LiteRT is in tests/frontends."""

from __future__ import annotations

import numpy as np
import pytest
from nets import graph, input_node
from test_tflite_weighted import slow_scale

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.ops.tflite_elementwise import TfliteAdd, TfliteMul
from adaqat.deploy.tflite_rule import quantize_multiplier
from adaqat.deploy.vectors import make_inputs

S8 = IntType(8, True)


def two(op, zero):
    x = input_node((3, 4, 2), S8, -5)
    table = np.random.default_rng(0).permutation(256) - 128
    other = Node.make("o", Lookup(table[None], S8), (x,), zero=zero)
    net = graph(x, other, Node.make("y", op, (x, other)))
    codes = make_inputs(net, samples=20)
    values = simulate(net, codes, keep=True)
    return codes.reshape(-1), values["o"].reshape(-1), values["y"].reshape(-1)


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("sign", [1, -1])
def test_tflite_add(rounding, sign):
    pairs = [quantize_multiplier(f) for f in (0.5, 0.37, 1.7e-6)]
    m = (pairs[0][0], sign * pairs[1][0], pairs[2][0])
    s = (pairs[0][1], pairs[1][1], pairs[2][1])
    op = TfliteAdd((-5, 9), m, s, 3, -120, 127, rounding, S8)
    for a, b, y in zip(*two(op, 9), strict=True):
        total = slow_scale((int(a) + 5) << 20, m[0], s[0], rounding)
        total += slow_scale((int(b) - 9) << 20, m[1], s[1], rounding)
        assert y == max(-120, min(127, slow_scale(total, m[2], s[2], rounding) + 3))


@pytest.mark.parametrize("rounding", ["double", "single"])
def test_tflite_mul(rounding):
    m, shift = quantize_multiplier(0.0123)
    op = TfliteMul((-5, 9), m, shift, 3, -120, 127, rounding, S8)
    for a, b, y in zip(*two(op, 9), strict=True):
        product = (int(a) + 5) * (int(b) - 9)
        assert y == max(-120, min(127, slow_scale(product, m, shift, rounding) + 3))


def test_a_left_shift_of_a_sum_is_refused():
    op = TfliteAdd((0, 0), (2**30, 2**30, 2**30), (0, 1, 0), 0, -128, 127, "double", S8)
    x = input_node((3, 4, 2), S8)
    with pytest.raises(UnsupportedError, match=r"a shift outside -31\.\.0"):
        graph(x, Node.make("y", op, (x, x)))
