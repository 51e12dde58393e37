# SPDX-License-Identifier: Apache-2.0
"""Exact projection of widths onto a budget: a small integer program over the real cost table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
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
    # of channels there is often no choice; a term of four widths has few cells then
    given = {w: b[0] for w, b in domains.items() if w.kind == "channels" and len(b) == 1}
    chosen = {
        w: {b: model.new_bool_var(f"{w.name}={b}") for b in bits}
        for w, bits in domains.items()
        if w not in given
    }
    for term in cost.terms:  # shared functions are known once every cell is
        free = [w for w in dict.fromkeys(term.widths) if w in chosen]
        for combined in product(*(chosen[w] for w in free)):
            term.called({**given, **dict(zip(free, combined, strict=True))})
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
            assignment = {**given, **dict(zip(free, bits, strict=True))}
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
    found = given | {
        w: next(b for b, v in options.items() if solver.boolean_value(v))
        for w, options in chosen.items()
    }
    return {w: found[w] for w in domains}  # assignments are compared in one order


def _cells(
    model: Any, chosen: Mapping[BitWidth, Mapping[int, Any]], free: Sequence[BitWidth]
) -> list[tuple[tuple[int, ...], Any]]:
    """(bits, literal) of every combination of a term's free widths; literal None: always true."""
    if not free:
        return [((), None)]
    if len(free) == 1:
        return [((b,), v) for b, v in chosen[free[0]].items()]
    cells = {
        bits: model.new_bool_var(",".join(f"{w.name}={b}" for w, b in zip(free, bits, strict=True)))
        for bits in product(*(chosen[w] for w in free))
    }
    for place, width in enumerate(free):
        for value, literal in chosen[width].items():
            model.add(sum(v for bits, v in cells.items() if bits[place] == value) == literal)
    return list(cells.items())


def check_budget(
    cost: NetworkCost, budget: Mapping[str, float], widths: Sequence[BitWidth]
) -> None:
    """Refuse a budget that no assignment meets.

    Raises:
        UsageError: names the metric and the smallest cost that is reachable.
    """
    check_metrics(cost, budget)
    ends = _ends(widths)
    for metric, limit in budget.items():
        smallest = min(
            cost.total(metric, solve(cost, {}, domains, least=metric)) for domains in ends
        )
        if smallest > limit:
            raise UsageError(
                f"budget: {metric} = {limit:g} cannot be met on {cost.name}; the smallest "
                f"reachable cost of this network is {smallest:.6g}; allow more, lower min_bits, "
                "or use a smaller network"
            )
    if len(budget) > 1 and all(solve(cost, budget, domains) is None for domains in ends):
        raise UsageError(
            f"budget: {', '.join(f'{k} = {v:g}' for k, v in budget.items())} can be "
            f"met one by one but not together on {cost.name}; relax one of them"
        )


def _ends(widths: Sequence[BitWidth]) -> list[dict[BitWidth, Sequence[int]]]:
    """All bits, with as many channels as possible, and with as few."""
    bits = {w: w.allowed for w in widths if w.kind != "channels"}
    channels = [w for w in widths if w.kind == "channels"]
    ends: list[dict[BitWidth, Sequence[int]]] = [{**bits, **{w: (w.hi,) for w in channels}}]
    if channels:
        ends.append({**bits, **{w: (w.lo,) for w in channels}})
    return ends
