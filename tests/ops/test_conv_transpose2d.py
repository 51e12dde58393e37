# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import reference
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.conv_transpose2d import ConvTranspose2d
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("gap", [(1, 1), (2, 3)])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_conv_transpose2d_scatters_every_input(bits, gap, groups):
    x = input_node((3, 4, 4), IntType(8, True), zero=-2)
    node = MoreMaker(bits, bits).conv_transpose(
        "t", x, 6, IntType(8, True), kernel=(3, 2), gap=gap, pad=(2, 1, 2, 1), groups=groups
    )
    net = graph(x, node)
    codes = make_inputs(net, samples=4)
    result, op = simulate(net, codes), node.op
    values = op.weights.values
    # the textbook form: every input adds its product with the kernel to the output; here without
    # padding of the result. The zero point counts where no input falls.
    rows, columns = (2 * gap[0] + 3, 3 * gap[1] + 2)
    assert result.shape[1:3] == (rows, columns)
    acc = np.zeros((4, rows, columns, 6), np.int64)
    fill = int(x.output.zero)
    acc += fill * values.reshape(6, -1).sum(1)
    for n, y, z, c in np.ndindex(4, 3, 4, 4):
        group = c // (4 // groups)
        for o in range(group * 6 // groups, (group + 1) * 6 // groups):
            for ky, kx in np.ndindex(3, 2):
                w = values[o, 2 - ky, 1 - kx, c % (4 // groups)]
                acc[n, y * gap[0] + ky, z * gap[1] + kx, o] += w * (int(codes[n, y, z, c]) - fill)
    for index in np.ndindex(*result.shape):
        assert result[index] == reference.requant(int(acc[index]), op.requant, index[-1])


def test_strided_windows_are_refused():
    x = input_node((3, 4, 4), IntType(8, True))
    op = MoreMaker(0, 4).conv_transpose("t", x, 6, IntType(8, True)).op
    bad = ConvTranspose2d(op.weights, op.requant, op.out_type, Window((3, 2), (2, 2)), (2, 2))
    with pytest.raises(UnsupportedError, match="conv_transpose2d: stride"):
        Node.make("t", bad, (x,))
