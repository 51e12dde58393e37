# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, Node, simulate
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.passes.drop_unused import drop_unused
from adaqat.deploy.passes.fuse_padding import fuse_padding
from adaqat.deploy.vectors import make_inputs

S8 = IntType(8, True)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "tflite_conv"])
@pytest.mark.parametrize(("value", "pad", "fits"), [
    (5, (0, 0, 0, 0), True), (5, (1, 0, 0, 1), True), (4, (0, 0, 0, 0), True),
    (4, (1, 0, 0, 0), False), (5, (2, 2, 2, 2), False),
])  # fmt: skip
def test_padding_moves_into_convolutions(kind, value, pad, fits):
    x = input_node((5, 6, 4), S8, 5)
    border = Node.make("border", Pad((1, 0, 0), (0, 1, 0), value), (x,))
    make = MoreMaker(0, 8)
    if kind == "conv":
        y = make.conv("y", border, 3, S8, pad=pad, groups=1)
    elif kind == "depthwise":
        y = make.depthwise("y", border, S8, pad=pad)
    else:
        from adaqat.deploy.ops.base import Window

        y = make.tflite_conv("y", border, 3, window=Window((3, 3), pad=pad))
    before = graph(x, border, y)
    after = drop_unused(fuse_padding(before))
    assert ("border" not in after.by_name) == fits
    codes = make_inputs(before, samples=20)
    assert np.array_equal(simulate(before, codes), simulate(after, codes))
    assert fuse_padding(after).dump() == after.dump()


def test_padded_channels_stay():
    x = input_node((5, 6, 4), S8, 5)
    border = Node.make("border", Pad((1, 0, 0), (0, 1, 2), 5), (x,))
    before = graph(x, border, MoreMaker(0, 8).conv("y", border, 3, S8))
    assert fuse_padding(before).dump() == before.dump()
