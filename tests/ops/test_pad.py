# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("value", [0, -3])
def test_pad_surrounds_the_codes(value):
    x = input_node((3, 4, 2), IntType(4, True))
    net = graph(x, Node.make("p", Pad((1, 0, 2), (0, 3, 1), value), (x,)))
    codes = make_inputs(net, samples=9)
    result = simulate(net, codes)
    assert result.shape == (9, 4, 7, 5)
    for n, y, z, c in np.ndindex(*result.shape):
        inside = 1 <= y and z < 4 and 2 <= c < 4
        assert result[n, y, z, c] == (codes[n, y - 1, z, c - 2] if inside else value)


def test_negative_padding_and_foreign_values_are_refused():
    x = input_node((3, 4, 2), IntType(4, False))
    with pytest.raises(UnsupportedError, match="crop with a slice"):
        Node.make("p", Pad((-1, 0, 0), (0, 0, 0)), (x,))
    with pytest.raises(UnsupportedError, match="a border of 16, outside the type u4"):
        graph(x, Node.make("p", Pad((1, 0, 0), (0, 0, 0), 16), (x,)))
