# SPDX-License-Identifier: Apache-2.0
"""``tflite_softmax`` against the real function; equality with LiteRT is in tests/frontends."""

from __future__ import annotations

import numpy as np
import pytest
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.tflite_softmax import TfliteSoftmax
from adaqat.deploy.targets import get
from adaqat.deploy.tflite_softmax import exp_table, reciprocal
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host


@pytest.mark.parametrize("scale", [0.01, 0.2, 2.0])
def test_tflite_softmax_is_close_to_the_real_one(scale):
    x = input_node((3, 7), IntType(8, True))
    net = graph(x, Node.make("s", TfliteSoftmax(exp_table(scale, 1.0)), (x,)))
    codes = make_inputs(net, samples=40)
    real = np.exp((codes - codes.max(axis=-1, keepdims=True).astype(float)) * scale)
    real /= real.sum(axis=-1, keepdims=True)
    assert np.abs((simulate(net, codes).astype(int) + 128) / 256 - real).max() < 1.6 / 256


def test_exponential_and_reciprocal():
    table = exp_table(0.05, 1.0)
    assert np.abs(table / 2.0**31 - np.exp(-0.05 * np.arange(len(table)))).max() < 1e-6
    total = np.array([1 << 18, 1 << 19, 700001, 12345678, 1 << 28])
    value, over = reciprocal(total)
    assert np.abs(value / 2.0**31 * 2.0**-over * total / 2.0**19 - 1).max() < 1e-6


@pytest.mark.parametrize("channels", [511, 512, 620, 1024, 2000])
def test_many_equal_inputs_shift_by_more_than_a_word(channels):
    # 512 exponentials of 1 are the first sum whose codes are divided by 2^32
    _, over = reciprocal(np.array([channels << 19]))
    assert (over[0] + 23 > 31) == (channels >= 512)
    x = input_node((channels,), IntType(8, True))
    net = graph(x, Node.make("s", TfliteSoftmax(exp_table(0.05, 1.0)), (x,)))
    codes = make_inputs(net, samples=9)
    codes[0] = 7
    codes[1, 1:] = codes[1, 0]
    tally = compare_host(layout(net, get("c99"), "net"), codes)
    assert tally.mismatches == 0, tally.first


def test_unsigned_inputs_and_bad_tables_are_refused():
    op = TfliteSoftmax(exp_table(0.05, 1.0))
    with pytest.raises(UnsupportedError, match="tflite_softmax: u8 codes; s8 is supported"):
        Node.make("s", op, (input_node((7,), IntType(8, False)),))
    x = input_node((7,), IntType(8, True))
    with pytest.raises(UnsupportedError, match="a first one below 1/2"):
        graph(x, Node.make("s", TfliteSoftmax(np.array([5, 3])), (x,)))
