# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_transpose_moves_every_code(axes):
    x = input_node((2, 3, 4), IntType(8, True))
    net = graph(x, Node.make("t", Transpose(axes), (x,)))
    codes = make_inputs(net, samples=8)
    result = simulate(net, codes)
    for index in np.ndindex(*result.shape[1:]):
        source = [0, 0, 0]
        for axis, i in zip(axes, index, strict=True):
            source[axis] = i
        assert np.array_equal(result[(slice(None), *index)], codes[(slice(None), *source)])


def test_a_channel_shuffle():
    x = input_node((2, 2, 6), IntType(8, True))
    split = Node.make("split", Reshape((4, 2, 3)), (x,))
    moved = Node.make("moved", Transpose((0, 2, 1)), (split,))
    net = graph(x, split, moved, Node.make("y", Reshape((2, 2, 6)), (moved,)))
    codes = make_inputs(net, samples=4)
    assert np.array_equal(simulate(net, codes), codes[..., [0, 3, 1, 4, 2, 5]])


def test_axes_must_be_a_permutation():
    x = input_node((2, 2, 6), IntType(8, True))
    with pytest.raises(UnsupportedError, match=r"transpose: axes \(0, 2, 2\)"):
        Node.make("t", Transpose((0, 2, 2)), (x,))
