# SPDX-License-Identifier: Apache-2.0
"""The arena planner."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from adaqat.deploy.memory import Buffer, plan_memory

buffer_lists = st.lists(
    st.tuples(st.integers(1, 400), st.integers(0, 12), st.integers(0, 5)), min_size=0, max_size=14
).map(lambda rows: [Buffer(f"b{i}", s, f, f + n) for i, (s, f, n) in enumerate(rows)])


@settings(max_examples=60, deadline=None)
@given(buffer_lists)
def test_living_buffers_never_overlap(buffers):
    plan = plan_memory(buffers)
    for i, a in enumerate(buffers):
        assert plan.offsets[a.name] % 4 == 0
        assert plan.offsets[a.name] + a.size <= plan.size
        for b in buffers[:i]:
            if a.meets(b):
                low, high = sorted((a, b), key=lambda x: plan.offsets[x.name])
                assert plan.offsets[low.name] + low.size <= plan.offsets[high.name]
    assert plan.size >= plan.lower_bound
    assert plan == plan_memory(buffers)


def test_a_chain_needs_its_two_largest_neighbours():
    sizes = [100, 40, 80, 60]
    buffers = [Buffer(f"t{i}", size, i, i + 1) for i, size in enumerate(sizes)]
    assert plan_memory(buffers).size == max(a + b for a, b in pairwise(sizes))


def test_the_solver_finds_what_first_fit_misses():
    # every greedy order leaves a hole here; the optimum is the lower bound
    buffers = [
        Buffer("a", 3 * 4, 0, 1), Buffer("b", 2 * 4, 0, 0), Buffer("c", 2 * 4, 1, 3),
        Buffer("d", 3 * 4, 2, 4), Buffer("e", 2 * 4, 4, 4),
    ]  # fmt: skip
    plan = plan_memory(buffers)
    assert plan.size == plan.lower_bound == 5 * 4


def test_nothing_to_place():
    assert plan_memory([]).size == 0
