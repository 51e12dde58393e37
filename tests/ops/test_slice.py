# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.vectors import make_inputs


def test_slice_takes_every_step():
    x = input_node((7, 6, 5), IntType(8, True))
    net = graph(x, Node.make("s", Slice((1, 0, 2), (3, 2, 3), (2, 5, 1)), (x,)))
    codes = make_inputs(net, samples=9)
    result = simulate(net, codes)
    for n, y, z, c in np.ndindex(9, 3, 2, 3):
        assert result[n, y, z, c] == codes[n, 1 + 2 * y, 5 * z, 2 + c]


@pytest.mark.parametrize("bad", [((5,), (3,), (1,)), ((0,), (2,), (0,)), ((0, 0), (1, 1), (1, 1))])
def test_slices_outside_are_refused(bad):
    x = input_node((7,), IntType(8, True))
    with pytest.raises(UnsupportedError, match="slice: start"):
        Node.make("s", Slice(*bad), (x,))
