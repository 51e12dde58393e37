# SPDX-License-Identifier: Apache-2.0
"""The training cost is the deployed cost; slopes, shares and exact projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from adaqat.deploy import UsageError, lower
from adaqat.train import calibrate, prepare
from adaqat.train.bits import BitWidth
from adaqat.train.cost import BitOps, NetworkCost, Term, network_cost
from adaqat.train.project import check_budget, solve

Make = Callable[[], nn.Module]


@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (3, 5), (2, 2), (1, 4)])
def test_training_cost_is_the_cost_of_the_lowered_graph(
    residual: Make, images: Tensor, target: Any, weight_bits: int, act_bits: int
) -> None:
    module = prepare(
        residual(), images, weight_bits=weight_bits, act_bits=act_bits, min_bits=1
    ).eval()
    calibrate(module, [images])
    cost = network_cost(module, target)
    works = dict(lower(module, images).works())
    assert {t.name for t in cost.terms} == set(works)
    for term in cost.terms:
        work = works[term.name]
        wanted = target.node_cost(work)
        assert term.at({}, "cycles") == wanted.cycles
        assert term.at({}, "flash_kb") == wanted.flash_bytes / 1024
        assert term.at({}, "latency_ms") == pytest.approx(wanted.cycles / 1000)


def two() -> tuple[BitWidth, BitWidth]:
    return BitWidth("w", "weight", 8), BitWidth("a", "act", 8)


def cliff() -> NetworkCost:
    """10 cycles, 6 once both sides are at most 4 bits."""
    w, a = two()
    table = {
        (i, j): {"cycles": 6.0 if max(i, j) <= 4 else 10.0, "flash_kb": float(i)}
        for i in range(1, 9)
        for j in range(1, 9)
    }
    return NetworkCost("toy", ("cycles", "flash_kb"), [Term("n", (w, a), table)])


def test_a_plateau_has_no_difference_but_a_chord() -> None:
    cost = cliff()
    w, a = cost.terms[0].widths
    assert cost.difference("cycles", w, 8) == 0
    assert cost.slope("cycles", w, 8) == pytest.approx(4 / 8), "both down from 8 to 4"
    a.freeze(8)
    assert cost.slope("cycles", w, 8) == 0, "a frozen partner closes that way"
    a.freeze(4)
    assert cost.slope("cycles", w, 8) == pytest.approx(1.0)
    assert cost.slope("flash_kb", w, 8) == 1
    assert cost.reference("flash_kb") == 8


def test_probing_assignments_do_not_move_anything() -> None:
    cost = cliff()
    w, _ = cost.terms[0].widths
    assert cost.total("flash_kb", {w: 3}) == 3 and cost.total("flash_kb") == 8


def test_bitops_is_the_papers_proxy(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images, granularity="network", weight_bits=5, act_bits=6)
    cost = network_cost(module, "bitops")
    assert isinstance(cost, BitOps)
    w, a = (w for w in module.widths if not w.fixed)
    assert cost.total("bitops") == 30 and cost.reference("bitops") == 64
    assert cost.difference("bitops", w, 5) == cost.total("bitops") - cost.total("bitops", {w: 4})
    assert cost.difference("bitops", a, 6) == 5


def test_costs_need_signs(residual: Make, images: Tensor, target: Any) -> None:
    with pytest.raises(UsageError, match="not calibrated"):
        network_cost(prepare(residual(), images), target)


def test_the_projection_is_exact() -> None:
    cost = cliff()
    w, a = cost.terms[0].widths
    domains = {w: range(2, 9), a: range(2, 9)}
    damage = {w: {b: 8.0 - b for b in range(2, 9)}, a: {b: 2.0 * (8 - b) for b in range(2, 9)}}
    assert solve(cost, {"cycles": 9.0}, domains, damage) == {w: 4, a: 4}
    assert solve(cost, {"cycles": 6.0}, domains, damage) == {w: 4, a: 4}, "the limit itself fits"
    assert solve(cost, {"flash_kb": 5.0}, domains, damage) == {w: 5, a: 8}, "free bits are taken"
    assert solve(cost, {"cycles": 5.0}, domains, damage) is None


def test_impossible_budgets_say_what_is_possible() -> None:
    cost = cliff()
    widths = list(cost.terms[0].widths)
    with pytest.raises(UsageError, match=r"cycles = 5 cannot be met on toy.*reachable.* is 6;"):
        check_budget(cost, {"cycles": 5.0}, widths)
    with pytest.raises(UsageError, match="'ram_kb' found; toy prices cycles, flash_kb"):
        check_budget(cost, {"ram_kb": 5.0}, widths)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="a positive number is needed"):
            check_budget(cost, {"cycles": bad}, widths)
    check_budget(cost, {"cycles": 6.0, "flash_kb": 2.0}, widths)


def test_budgets_that_exclude_each_other() -> None:
    w = BitWidth("w", "weight", 8)
    table = {(b,): {"x": float(b), "y": float(10 - b)} for b in range(1, 9)}
    cost = NetworkCost("toy", ("x", "y"), [Term("n", (w,), table)])
    with pytest.raises(UsageError, match="one by one but not together"):
        check_budget(cost, {"x": 3.0, "y": 3.0}, [w])


def shared_functions() -> NetworkCost:
    """Two layers; a width's function takes 3 kB, and a network holds it once."""
    terms = []
    for name in ("first", "second"):
        width = BitWidth(name, "weight", 8)
        table = {(b,): {"flash_kb": float(b)} for b in range(1, 9)}
        shared = {(b,): {f"dot{b}": 3 * 1024} for b in range(1, 9)}
        terms.append(Term(name, (width,), table, shared))
    return NetworkCost("toy", ("flash_kb",), terms, fixed_bytes=512)


def test_a_shared_function_counts_once_in_total_and_projection() -> None:
    cost = shared_functions()
    first, second = (term.widths[0] for term in cost.terms)
    assert cost.total("flash_kb", {first: 4, second: 4}) == 4 + 4 + 3 + 0.5
    assert cost.total("flash_kb", {first: 4, second: 3}) == 4 + 3 + 3 + 3 + 0.5
    damage = {w: {b: 2.0 ** -b for b in range(1, 9)} for w in (first, second)}
    domains = {w: range(1, 9) for w in (first, second)}
    for limit in (7.1, 9.6, 12.1, 15.6):
        found = solve(cost, {"flash_kb": limit}, domains, damage)
        best = min(
            ((a, b) for a in range(1, 9) for b in range(1, 9)
             if cost.total("flash_kb", {first: a, second: b}) <= limit),
            key=lambda pair: damage[first][pair[0]] + damage[second][pair[1]],
        )  # fmt: skip
        assert found is not None
        assert sum(damage[w][b] for w, b in found.items()) == pytest.approx(
            damage[first][best[0]] + damage[second][best[1]]
        )
        assert cost.total("flash_kb", found) <= limit
