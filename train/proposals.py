# SPDX-License-Identifier: Apache-2.0
"""From the end of a search to assignments that meet the budget."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..deploy.errors import UsageError
from .bits import BitWidth
from .candidates import Assignment, distinct, even_point, fill, uniform_points
from .project import solve
from .relaxed import RelaxedSearch
from .rule import GROWTH, damage_curve

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
    filled = partial(fill, cost, budget=controller.budget)
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
    whole = {w: w.hi for w in widths}
    if controller.method == "knapsack":
        return {"knapsack": filled(_project(controller, whole, measured, (8,)))}
    if isinstance(controller.search, RelaxedSearch):
        bits = _project(controller, wanted, controller.search.damage(), (1, 2, 8))
        return {controller.method: filled(bits)}
    learned = {w: learned_curve(controller, w) for w in wanted}
    found = {"adaqat": filled(_project(controller, wanted, learned, (1, 2, 8)))}
    if controller.comparing:
        for name, bits in points.items():
            found[name] = filled(bits)
        rivals = {"knapsack": measured} if controller.sensitivity.batches else {}
        rivals["knapsack of probes"] = learned
        for kept, suffix in _channel_choices(found["adaqat"]):
            for name, damage in rivals.items():
                try:
                    bits = _project(controller, whole | kept, damage, (8,), kept)
                except UsageError:  # nothing fits with so many channels
                    continue
                found[name + suffix] = filled(bits)
    return distinct(found)


def _channel_choices(found: Assignment) -> list[tuple[Assignment, str]]:
    """Numbers of channels that rivals compare: all, and those that the search kept."""
    kept = {w: b for w, b in found.items() if w.kind == "channels"}
    whole = {w: w.hi for w in kept}
    return [(whole, "")] if kept == whole else [(whole, ""), (kept, ", pruned")]


def learned_curve(controller: AdaQAT, width: BitWidth) -> dict[int, float]:
    """Damage of a width as the search's probes tell it."""
    return damage_curve(controller.search.worth.get(width.name, {}), growth=GROWTH[width.kind])


def damage_curves(controller: AdaQAT) -> Damage:
    """Damage of every width at every number of bits: the mean of what was measured and learned."""
    known: list[Damage] = [{w: learned_curve(controller, w) for w in controller.widths.values()}]
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


def near_channels(width: BitWidth, wanted: int, reach: int = 1) -> list[int]:
    """A few numbers of channels around a wanted one; the fewest where that must do."""
    if reach >= width.hi:
        return [width.lo]
    at = width.allowed.index(wanted)
    return list(width.allowed[max(0, at - reach) : at + 2])


def _project(
    controller: AdaQAT,
    wanted: Mapping[BitWidth, int],
    damage: Mapping[BitWidth, Mapping[int, float]],
    reaches: tuple[int, ...],
    kept: Mapping[BitWidth, int] | None = None,
) -> Assignment:
    """Least damage, at most one bit below what was learned (more only if it must be).

    Channels are those of ``kept``, or near what was learned.
    """
    for limits in (controller.aim, controller.budget):
        for reach in reaches:
            domains = {
                w: near_channels(w, n, reach)
                if w.kind == "channels"
                else [b for b in w.allowed if b >= n - reach]
                for w, n in wanted.items()
            }
            domains |= {w: [b] for w, b in (kept or {}).items()}
            found = solve(controller.cost, limits, domains, damage)
            if found is not None:
                return found
    raise UsageError(
        "budget: no widths meet it any more; widths that were frozen by hand "
        "stand in the way; free them or allow more"
    )
