# SPDX-License-Identifier: Apache-2.0
"""From the end of a search to assignments that meet the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..deploy.errors import UsageError
from .bits import BitWidth
from .candidates import Assignment, distinct, even_point, fill, uniform_points
from .project import solve
from .relaxed import RelaxedSearch
from .rule import damage_curve

if TYPE_CHECKING:
    from .controller import AdaQAT

Damage = dict[BitWidth, dict[int, float]]


def propose(controller: AdaQAT) -> dict[str, Assignment]:
    """What the method found, first, and what it has to beat; each meets the budget.

    Raises:
        UsageError: nothing meets it any more.
    """
    found = _within_tables(controller)
    if controller.ram_kb is None:
        return found
    limit = controller.ram_kb
    fitting = {name: bits for name, bits in found.items() if controller.in_arena(bits)}
    if fitting:
        return fitting
    size, bits = controller.arena.smallest(list(controller.widths.values()))
    inside = all(controller.cost.total(m, bits) <= v for m, v in controller.budget.items())
    if size <= limit and inside:
        return {"smallest arena": bits}
    raise UsageError(
        f"budget: ram_kb = {limit:g} and the other limits can be met one by one, but none of the "
        "assignments found meets them together; allow more"
    )


def _within_tables(controller: AdaQAT) -> dict[str, Assignment]:
    """The same without the limit on the arena."""
    wanted = _wanted(controller)
    if not controller.budget:
        return {controller.method: wanted}
    cost, widths = controller.cost, list(controller.widths.values())
    measured = {w: controller.sensitivity.damage(w) for w in widths}
    limits = controller.aim
    points = uniform_points(cost, limits, widths)
    if not points:
        limits = controller.budget
        points = uniform_points(cost, limits, widths)
    if controller.method == "uniform":
        chosen = even_point(points)
        if chosen is None:
            raise UsageError(
                "budget: no uniform width meets it, mixed ones may; use method = 'adaqat' or allow "
                "more"
            )
        return {chosen: points[chosen]}
    if controller.method == "knapsack":
        whole = {w: w.hi for w in widths}
        return {"knapsack": fill(cost, _project(controller, whole, measured, (8,)))}
    if isinstance(controller.search, RelaxedSearch):
        bits = _project(controller, wanted, controller.search.damage(), (1, 2, 8))
        return {controller.method: fill(cost, bits)}
    learned = {w: damage_curve(controller.search.worth.get(w.name, {})) for w in wanted}
    found = {"adaqat": fill(cost, _project(controller, wanted, learned, (1, 2, 8)))}
    if controller.comparing:
        for name, bits in points.items():
            found[name] = fill(cost, bits)
        whole = {w: w.hi for w in widths}
        if controller.sensitivity.batches:
            found["knapsack"] = fill(cost, _project(controller, whole, measured, (8,)))
        found["knapsack of probes"] = fill(cost, _project(controller, whole, learned, (8,)))
    return distinct(found)


def damage_curves(controller: AdaQAT) -> Damage:
    """Damage of every width at every number of bits: the mean of what was measured and learned."""
    known: list[Damage] = [
        {
            w: damage_curve(controller.search.worth.get(w.name, {}))
            for w in controller.widths.values()
        }
    ]
    if controller.sensitivity.batches:
        known.append({w: controller.sensitivity.damage(w) for w in known[0]})
    return {
        w: {b: sum(curves[w][b] for curves in known) / len(known) for b in w.allowed}
        for w in known[0]
    }


def _wanted(controller: AdaQAT) -> Assignment:
    """Rounded widths, before any budget."""
    search = controller.search
    if isinstance(search, RelaxedSearch):
        return search.wanted()
    wanted = {}
    exact = controller.mode == "adaqat" and controller.freeze_rule != "break_even"
    for name, width in controller.widths.items():
        if width.frozen or exact:
            wanted[width] = width.integer
        else:
            averaged = controller.averaged
            n = controller.sum_n[name] / averaged if averaged else width.n
            wanted[width] = width.nearest(n)
    return wanted


def _project(
    controller: AdaQAT,
    wanted: Mapping[BitWidth, int],
    damage: Mapping[BitWidth, Mapping[int, float]],
    reaches: tuple[int, ...],
) -> Assignment:
    """Least damage, at most one bit below what was learned (more only if it must be)."""
    for limits in (controller.aim, controller.budget):
        for reach in reaches:
            domains = {w: [b for b in w.allowed if b >= n - reach] for w, n in wanted.items()}
            found = solve(controller.cost, limits, domains, damage)
            if found is not None:
                return found
    raise UsageError(
        "budget: no widths meet it any more; widths that were frozen by hand "
        "stand in the way; free them or allow more"
    )
