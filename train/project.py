# SPDX-License-Identifier: Apache-2.0
"""Exact projection of widths onto a budget: a small integer program over the real cost table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from ..deploy.errors import UsageError
from .bits import BitWidth
from .cost import NetworkCost
from .options import check_metrics

SCALE = 10**9
EFFORT = 60.0
"""Solver limit in its own deterministic time, so that results do not depend on the machine."""

Domains = Mapping[BitWidth, Sequence[int]]


def solve(
    cost: NetworkCost,
    budget: Mapping[str, float],
    domains: Domains,
    damage: Mapping[BitWidth, Mapping[int, float]] | None = None,
    least: str | None = None,
) -> dict[BitWidth, int] | None:
    """Widths of least total damage (or least cost) within every budget, or None.

    Args:
        cost: the table.
        budget: largest cost by metric; may be empty.
        domains: allowed bits of every free width.
        damage: price of running a width at some bits, any unit.
        least: minimise this metric instead of the damage.

    The solver counts in whole billionths of a budget, rounded up; a first attempt allows for the
    rounding, so that an assignment at exactly the budget is found, and is checked.
    """
    for slack in (2 * (len(cost.terms) + len(cost.shared) + 1), 0):
        found = _solve(cost, budget, domains, damage, least, slack)
        if found is None or all(cost.total(m, found) <= v * (1 + 1e-12) for m, v in budget.items()):
            return found
    return None


def _solve(
    cost: NetworkCost,
    budget: Mapping[str, float],
    domains: Domains,
    damage: Mapping[BitWidth, Mapping[int, float]] | None,
    least: str | None,
    slack: int,
) -> dict[BitWidth, int] | None:
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    chosen = {
        w: {b: model.new_bool_var(f"{w.name}={b}") for b in bits} for w, bits in domains.items()
    }
    for options in chosen.values():
        model.add_exactly_one(options.values())
    unit = dict(budget) if least is None else {**budget, least: cost.total(least) or 1.0}
    used: dict[str, list[tuple[int, Any]]] = {metric: [] for metric in unit}
    constant = {m: ceil(cost.fixed.get(m, 0.0) / one * SCALE) for m, one in unit.items()}
    held = {name: model.new_bool_var(name) for name in cost.shared}
    for metric, one in unit.items():
        used[metric] += [
            (ceil(cost.shared[name].get(metric, 0.0) / one * SCALE), literal)
            for name, literal in held.items()
        ]
    for term in cost.terms:
        free = [w for w in dict.fromkeys(term.widths) if w in chosen]
        for bits, literal in _cells(model, chosen, free):
            assignment = dict(zip(free, bits, strict=True))
            for name in term.called(assignment):
                model.add(held[name] >= (1 if literal is None else literal))
            for metric, one in unit.items():
                price = ceil(term.at(assignment, metric) / one * SCALE)
                if literal is None:
                    constant[metric] += price
                else:
                    used[metric].append((price, literal))
    for metric in budget:
        model.add(sum(p * v for p, v in used[metric]) + constant[metric] <= SCALE + slack)
    if least is not None:
        model.minimize(sum(p * v for p, v in used[least]))
    elif damage:
        peak = max((abs(d) for values in damage.values() for d in values.values()), default=1.0)
        model.minimize(
            sum(
                round(damage[w][b] / (peak or 1.0) * SCALE) * v
                for w, options in chosen.items()
                for b, v in options.items()
            )
        )
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = EFFORT
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return {
        w: next(b for b, v in options.items() if solver.boolean_value(v))
        for w, options in chosen.items()
    }


def _cells(
    model: Any, chosen: Mapping[BitWidth, Mapping[int, Any]], free: Sequence[BitWidth]
) -> list[tuple[tuple[int, ...], Any]]:
    """(bits, literal) of every combination of a term's free widths; literal None: always true."""
    if not free:
        return [((), None)]
    if len(free) == 1:
        return [((b,), v) for b, v in chosen[free[0]].items()]
    first, second = (chosen[w] for w in free)
    cells = {
        (a, b): model.new_bool_var(f"{free[0].name}={a},{free[1].name}={b}")
        for a in first
        for b in second
    }
    for a, literal in first.items():
        model.add(sum(v for (x, _), v in cells.items() if x == a) == literal)
    for b, literal in second.items():
        model.add(sum(v for (_, y), v in cells.items() if y == b) == literal)
    return list(cells.items())


def check_budget(
    cost: NetworkCost, budget: Mapping[str, float], widths: Sequence[BitWidth]
) -> None:
    """Refuse a budget that no assignment meets.

    Raises:
        UsageError: names the metric and the smallest cost that is reachable.
    """
    check_metrics(cost, budget)
    domains = {w: w.allowed for w in widths}
    for metric, limit in budget.items():
        smallest = cost.total(metric, solve(cost, {}, domains, least=metric))
        if smallest > limit:
            raise UsageError(
                f"budget: {metric} = {limit:g} cannot be met on {cost.name}; the smallest "
                f"reachable cost of this network is {smallest:.6g}; allow more, lower min_bits, "
                "or use a smaller network"
            )
    if len(budget) > 1 and solve(cost, budget, domains) is None:
        raise UsageError(
            f"budget: {', '.join(f'{k} = {v:g}' for k, v in budget.items())} can be "
            f"met one by one but not together on {cost.name}; relax one of them"
        )
