# SPDX-License-Identifier: Apache-2.0
"""The training cost is the deployed cost; slopes, shares and exact projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from adaqat.deploy import UsageError, lower
from adaqat.hw_models import load
from adaqat.train import calibrate, prepare
from adaqat.train.bits import BitWidth
from adaqat.train.candidates import fill
from adaqat.train.cost import BitOps, NetworkCost, Term
from adaqat.train.pricing import network_cost
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
        products = work.macs * work.weight_bits * work.act_bits
        assert term.at({}, "gbitops") == pytest.approx(products * 1e-9)
    costs = [target.node_cost(work) for work in works.values()]
    shared = {name: size for one in costs for name, size in one.shared.items()}
    flash = sum(one.flash_bytes for one in costs) + sum(shared.values())
    assert cost.total("flash_kb") * 1024 == pytest.approx(flash + target.run_bytes(len(costs)))


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


def test_shared_functions_are_paid_once_and_may_be_avoided() -> None:
    first, second = BitWidth("w1", "weight", 8), BitWidth("w2", "weight", 8)
    table = {(b,): {"flash_kb": b / 8} for b in range(1, 9)}
    calls = {(b,): frozenset({f"dot{b}"}) for b in range(1, 9)}
    shared = {f"dot{b}": {"flash_kb": 1.0} for b in range(1, 9)}
    terms = [Term("a", (first,), table, calls), Term("b", (second,), table, calls)]
    cost = NetworkCost("toy", ("flash_kb",), terms, shared, {"flash_kb": 0.5})
    assert cost.total("flash_kb") == 0.5 + 1 + 1 + 1
    assert cost.total("flash_kb", {first: 4}) == 0.5 + 0.5 + 1 + 2
    domains = {first: range(2, 9), second: range(2, 9)}
    damage = {
        first: {b: 3.0 * (8 - b) for b in range(2, 9)},
        second: {b: 8.0 - b for b in range(2, 9)},
    }
    found = solve(cost, {"flash_kb": 3.0}, domains, damage)
    assert found == {first: 6, second: 6}, "two different widths would pay two functions"


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


def test_bitops_limit_but_do_not_hold_free_bits_back(
    residual: Make, images: Tensor, target: Any
) -> None:
    module = prepare(residual(), images)
    calibrate(module, [images])
    cost = network_cost(module, target)
    low = {w: 5 for w in module.widths if not w.fixed}
    free, held = fill(cost, low), fill(cost, low, ["gbitops"])
    # between 5 and 8 bits the made-up target's cycles lie on a plateau, flash does not
    assert cost.total("gbitops", held) <= cost.total("gbitops", low) < cost.total("gbitops", free)
    assert cost.total("flash_kb", free) <= cost.total("flash_kb", low)
    assert cost.total("cycles", free) <= cost.total("cycles", low)


def test_budgets_that_exclude_each_other() -> None:
    w = BitWidth("w", "weight", 8)
    table = {(b,): {"x": float(b), "y": float(10 - b)} for b in range(1, 9)}
    cost = NetworkCost("toy", ("x", "y"), [Term("n", (w,), table)])
    with pytest.raises(UsageError, match="one by one but not together"):
        check_budget(cost, {"x": 3.0, "y": 3.0}, [w])


def test_a_board_prices_waits_and_a_target_without_cycles_leaves_them_out(
    residual: Make, images: Tensor
) -> None:
    module = prepare(residual(), images, min_bits=1).eval()
    calibrate(module, [images])
    plain = network_cost(module, "cortex-m4")
    there = network_cost(module, load("cortex-m4", "nucleo-l4r5zi"))
    assert there.total("cycles") == plain.total("cycles")
    assert there.total("latency_ms") > plain.total("latency_ms")
    assert there.total("energy_uj") > 0
    free = [w for w in module.widths if not w.fixed]
    check_budget(there, {"energy_uj": there.total("energy_uj"), "latency_ms": 9e9}, free)
    with pytest.raises(UsageError, match=r"energy_uj = 0.001 cannot be met .*smallest"):
        check_budget(there, {"energy_uj": 1e-3}, free)
    generic = network_cost(module, "c99")
    assert generic.metrics == ("instructions", "flash_kb") and generic.proxies == ("gbitops",)
    with pytest.raises(UsageError, match=r"'latency_ms' found; c99 prices instructions, flash_kb"):
        check_budget(generic, {"latency_ms": 5.0}, module.widths)


def test_the_board_of_the_command_line_reaches_the_recipe() -> None:
    from adaqat.train.cli import _recipe

    recipe = _recipe("digits", None, None, "cortex-m0plus", [], None, "nucleo-g0b1re")
    assert (recipe.search.target, recipe.search.board) == ("cortex-m0plus", "nucleo-g0b1re")
    assert _recipe("digits", None, None, None, [], None).search.board is None
