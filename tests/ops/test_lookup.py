# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, check, simulate
from adaqat.deploy.errors import UnsupportedError as Refused
from adaqat.deploy.graph import Graph
from adaqat.deploy.ops.lookup import Lookup, tabulate
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("rows", [1, 5])
def test_lookup_reads_the_entry_of_each_code(bits, signed, rows):
    x = input_node((3, 4, 5), IntType(bits, signed))
    net = graph(x, MoreMaker(bits, 4).lookup("f", x, IntType(8, True), rows=rows))
    codes = make_inputs(net, samples=9)
    result, table = simulate(net, codes), net["f"].op.table
    for index in np.ndindex(*result.shape):
        row = table[index[-1] if rows > 1 else 0]
        assert result[index] == row[int(codes[index]) - x.output.type.lo]


def test_tables_round_the_real_function():
    x = input_node((4,), IntType(8, True), zero=3)
    op = tabulate(lambda v: 1 / (1 + np.exp(-v)), x.output, IntType(8, False), 1 / 256)
    for code in range(-128, 128):
        real = 256 / (1 + np.exp(-0.05 * (code - 3)))
        assert abs(op.table[0, code + 128] - min(real, 255)) <= 0.5 + 1e-9


def test_a_table_of_another_length_is_refused():
    x = input_node((4,), IntType(4, False))
    with pytest.raises(UnsupportedError, match=r"lookup: a table \(1, 8\) for u4 codes"):
        Node.make("f", Lookup(np.zeros((1, 8), np.int64), IntType(4, False)), (x,))


def test_entries_outside_the_type_are_refused():
    x = input_node((4,), IntType(2, False))
    f = Node.make("f", Lookup(np.array([[0, 1, 2, 9]]), IntType(2, False)), (x,))
    with pytest.raises(Refused, match="f: table entries outside the output type u2"):
        check(Graph("g", (x, f), "f"))
