# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import reference
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.vectors import make_inputs

PARTS = {"equal": None, "channel": (1, 1, 3), "pixel": (4, 5, 1), "single": (1, 1, 1)}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("bits", "signed"), [(1, False), (3, True), (8, False), (8, True)])
def test_mul_equals_slow_loops(part, bits, signed):
    x = input_node((4, 5, 3), IntType(bits, signed), zero=-1 if signed else 0)
    second = x
    if PARTS[part]:
        second = Node.make("part", Slice((0, 0, 0), PARTS[part], (1, 1, 1)), (x,))
    y = MoreMaker(bits, 4).mul("y", x, second, IntType(8, True))
    net = graph(*dict.fromkeys((x, second, y)))
    codes = make_inputs(net, samples=8)
    values = simulate(net, codes, keep=True)
    result, other = values["y"], values[second.name]
    zero = x.output.zero
    for index in np.ndindex(*result.shape):
        at = tuple(min(i, size - 1) for i, size in zip(index, other.shape, strict=True))
        product = (int(codes[index]) - zero) * (int(other[at]) - zero)
        assert result[index] == reference.requant(product, y.op.requant, 0)


def test_other_broadcasts_are_refused():
    x = input_node((4, 5, 3), IntType(8, False))
    part = Node.make("part", Slice((0, 0, 0), (4, 1, 3), (1, 1, 1)), (x,))
    with pytest.raises(UnsupportedError, match=r"mul: shapes \(4, 5, 3\) and \(4, 1, 3\)"):
        MoreMaker(0, 4).mul("y", x, part, IntType(8, True))
