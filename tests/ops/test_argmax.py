# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_argmax_is_the_first_of_the_largest(bits):
    x = input_node((3, 9), IntType(bits, True))
    net = graph(x, Node.make("a", ArgMax(), (x,)))
    codes = make_inputs(net, samples=30)
    result = simulate(net, codes)
    for n in range(30):
        for row in range(3):
            line = [int(v) for v in codes[n, row]]
            assert result[n, row, 0] == line.index(max(line))


def test_too_many_classes():
    x = input_node((300,), IntType(8, True))
    with pytest.raises(UnsupportedError, match="argmax: 300 classes; up to 256"):
        Node.make("a", ArgMax(), (x,))
