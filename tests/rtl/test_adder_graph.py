# SPDX-License-Identifier: Apache-2.0
"""Adder graphs against the matrix product they stand for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaqat.deploy.rtl import adder_search
from adaqat.deploy.rtl.adder_graph import AdderGraph, Term, pipeline, register_bits, width_of
from adaqat.deploy.rtl.adder_search import search, signed_digits


def random_matrix(rng, weight_bits, outputs, inputs, kind):
    top = (1 << weight_bits) - 1
    codes = rng.integers(0, top + 1, (outputs, inputs))
    if kind == "odd":
        return 2 * codes - top
    if kind == "extreme":
        return rng.integers(0, 2, (outputs, inputs)) * top - (1 << (weight_bits - 1))
    sparse = rng.random((outputs, inputs)) < 0.5
    return np.where(sparse, 0, codes - (1 << (weight_bits - 1)))


def check(graph: AdderGraph, matrix, low, high, rng):
    """Equal to the product for random and extreme inputs, and no node wider than it must be."""
    assert (graph.matrix() == matrix).all()
    tests = [rng.integers(low, high + 1, matrix.shape[1]) for _ in range(3)]
    # the inputs that drive each output to its ends
    tests += [np.where(row > 0, end, low + high - end) for row in matrix for end in (low, high)]
    for x in tests:
        assert graph.evaluate(x.tolist()) == (matrix @ x).tolist()
    forms = {}
    for node in graph.live():
        adder = graph.adders[node]
        if adder is None:
            forms[node] = np.eye(graph.inputs, dtype=int)[node]
        else:
            right = forms[adder.right] << adder.shift
            forms[node] = forms[adder.left] + (-right if adder.minus else right)
        form = forms[node].tolist()
        ends = [
            sum(v * (side if v > 0 else low + high - side) for v in form) for side in (low, high)
        ]
        assert graph.ranges[node] == tuple(ends)
        assert graph.width(node) == width_of(*ends)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8), st.booleans(),
    st.integers(1, 7), st.integers(1, 12), st.sampled_from(["odd", "extreme", "sparse"]),
)  # fmt: skip
def test_the_graph_is_the_matrix_product(
    seed, weight_bits, act_bits, signed, outputs, inputs, kind
):
    rng = np.random.default_rng(seed)
    matrix = random_matrix(rng, weight_bits, outputs, inputs, kind)
    low, high = (-(1 << (act_bits - 1)), (1 << (act_bits - 1)) - 1) if signed else (
        0, (1 << act_bits) - 1
    )  # fmt: skip
    check(search(matrix, low, high), matrix, low, high, rng)


@pytest.mark.parametrize("how", [(w, d) for w in (True, False) for d in (True, False)])
def test_every_method_and_a_matrix_cut_by_inputs(how, monkeypatch):
    rng = np.random.default_rng(5)
    matrix = random_matrix(rng, 4, 9, 30, "sparse")
    whole = adder_search._graph(matrix, 0, 15, *how)
    check(whole, matrix, 0, 15, rng)
    monkeypatch.setattr(adder_search, "MOST_PAIRS", 2000)
    cut = adder_search._graph(matrix, 0, 15, *how)
    check(cut, matrix, 0, 15, rng)
    assert len(cut.bits()) >= len(whole.bits())


@given(st.integers(-(2**20), 2**20))
def test_signed_digits(value):
    digits = signed_digits(value)
    assert sum(sign << shift for shift, sign in digits) == value
    shifts = [shift for shift, _ in digits]
    assert all(b - a >= 2 for a, b in pairwise(shifts))


def test_the_same_matrix_gives_the_same_graph():
    matrix = random_matrix(np.random.default_rng(1), 5, 6, 20, "odd")
    adder_search._search.cache_clear()
    one = search(matrix, 0, 7)
    adder_search._search.cache_clear()
    other = search(matrix, 0, 7)
    assert one is not other and one.adders == other.adders and one.outputs == other.outputs


def test_constant_outputs_shifts_and_signs_cost_nothing():
    matrix = np.array([[0, 0], [4, 0], [0, -1], [-8, 0]])
    graph = search(matrix, 0, 3)
    assert graph.outputs == [None, Term(0, 2, 1), Term(1, 0, -1), Term(0, 3, -1)]
    assert graph.bits() == [] and pipeline(graph, 1).stages == 0


def test_operands_that_do_not_overlap_are_wires():
    graph = search(np.array([[1, 4]]), 0, 3)
    assert len(graph.adders) == 3 and graph.bits() == []
    # signed ones overlap in their signs
    assert search(np.array([[1, 4]]), -2, 1).bits() == [3]


def test_what_outputs_share_is_made_once():
    row = np.array([1, -1, 1, 1, -1, 1, 1, 1])
    shared = np.outer([1, 2, -1, 4, 8, -2], row)
    assert len(search(shared, 0, 1).bits()) == 7
    # rows that differ in one sign: each other one is made from its neighbour
    rows = np.array([[1] * 12, [1] * 11 + [-1], [1] * 10 + [-1, -1]])
    assert len(search(rows, 0, 1).bits()) <= 13


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_registers_stand_on_every_path_alike(levels):
    rng = np.random.default_rng(levels)
    graph = search(random_matrix(rng, 6, 5, 17, "sparse"), 0, 15)
    timed = pipeline(graph, levels)
    depth = {}
    for node in graph.live():
        adder = graph.adders[node]
        if adder is None:
            depth[node] = 0
            continue
        for operand in (adder.left, adder.right):
            # read in the slot of the sum: as it is made, or from a register that is there
            same = timed.slots[operand] == timed.slots[node]
            assert (timed.born[operand] > timed.slots[node] and same) or (
                timed.slots[node] in timed.registers(operand) or timed.slots[node] == 0
            )  # fmt: skip
        row = max(depth[adder.left], depth[adder.right]) + int(graph.adder_bits(node) > 0)
        depth[node] = row
        assert -(-row // levels) == timed.born[node]
    assert timed.stages == -(-max(depth.values()) // levels)
    for term in graph.outputs:
        if term:
            assert timed.stages in timed.registers(term.node)
    assert register_bits(graph, timed) == sum(
        graph.width(node) * len(timed.registers(node)) for node in graph.live()
    )


def test_sums_that_leave_their_range_are_told():
    graph = search(np.array([[3, 5]]), 0, 3)
    with pytest.raises(OverflowError, match="outside"):
        graph.evaluate([9, 9])
