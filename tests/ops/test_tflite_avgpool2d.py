# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import reference
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.tflite_avgpool2d import TfliteAvgPool2d
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (1, 0, 1, 2)])
@pytest.mark.parametrize("kernel", [(2, 3), (3, 3), (2, 2)])
def test_tflite_avgpool2d_divides_by_what_is_inside(kernel, pad):
    x = input_node((5, 6, 3), IntType(8, True))
    if max(pad[1], pad[3]) >= kernel[1]:
        kernel = (kernel[0], 3)
    op = TfliteAvgPool2d(Window(kernel, (1, 2), pad=pad), -100, 100)
    net = graph(x, Node.make("p", op, (x,)))
    codes = make_inputs(net, samples=8)

    def combine(inside, outside):
        total, count = sum(inside), len(inside)
        away = (abs(total) + count // 2) // count * (1 if total > 0 else -1)
        return max(-100, min(100, away))

    assert (simulate(net, codes) == reference.pool(codes, op, combine)).all()


def test_a_clamp_outside_the_type_is_refused():
    x = input_node((5, 6, 3), IntType(4, False))
    with pytest.raises(UnsupportedError, match=r"clamp -5\.\.9 outside u4"):
        graph(x, Node.make("p", TfliteAvgPool2d(Window((2, 2)), -5, 9), (x,)))
