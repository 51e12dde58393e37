# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.vectors import make_inputs


def test_shape_is_the_sum_of_channels():
    x = input_node((3, 4, 2), IntType(6, True))
    left = Maker(3, 4).conv("left", x, 3, IntType(6, True))
    right = Maker(4, 4).conv("right", x, 5, IntType(6, True))
    net = graph(x, left, right, Node.make("cat", Concat(), (left, right)))
    assert net["cat"].output.shape == (3, 4, 8)


def test_codes_are_copied():
    x = input_node((2, 2, 3), IntType(5, True))
    net = graph(x, Node.make("cat", Concat(), (x, x)))
    codes = make_inputs(net, samples=9)
    result = simulate(net, codes)
    for n, y, c, k in np.ndindex(*result.shape):
        assert result[n, y, c, k] == codes[n, y, c, k % 3]


def test_different_grids_are_refused():
    x = input_node((3, 4, 2), IntType(6, True))
    y = Maker(3, 4).conv("y", x, 2, IntType(4, True))
    with pytest.raises(UnsupportedError, match="2 different grids"):
        Node.make("cat", Concat(), (x, y))


def test_spatial_sizes_must_be_equal():
    x = input_node((3, 4, 2), IntType(6, True))
    y = input_node((3, 5, 2), IntType(6, True))
    with pytest.raises(UnsupportedError, match="only channels may differ"):
        Node.make("cat", Concat(), (x, y))
