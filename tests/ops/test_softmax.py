# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize(("bits", "out"), [(8, 8), (4, 8), (8, 3), (1, 1)])
def test_softmax_equals_whole_numbers_and_is_close_to_the_real_one(bits, out):
    x = input_node((2, 11), IntType(bits, True))
    net = graph(x, Node.make("s", Softmax.of(x.output, out), (x,), scale=2.0**-out, zero=0))
    codes = make_inputs(net, samples=40)
    result = simulate(net, codes)
    for n, row in np.ndindex(40, 2):
        line = [int(v) for v in codes[n, row]]
        e = [int(2**15 * np.exp(-0.05 * (max(line) - v)) + 0.5) for v in line]
        y = [min((v * 2**out + sum(e) // 2) // sum(e), 2**out - 1) for v in e]
        assert [int(v) for v in result[n, row]] == y
    real = np.exp(codes * 0.05)
    real /= real.sum(axis=-1, keepdims=True)
    # the largest code stands for everything from there to 1
    limit = np.minimum(real, (2**out - 1) * 2.0**-out)
    assert np.abs(result * 2.0**-out - limit).max() <= 0.51 * 2.0**-out


def test_signed_results_are_refused():
    x = input_node((11,), IntType(8, True))
    with pytest.raises(UnsupportedError, match="an unsigned result are supported"):
        Node.make("s", Softmax(Softmax.of(x.output).table, IntType(8, True)), (x,))
