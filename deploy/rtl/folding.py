# SPDX-License-Identifier: Apache-2.0
"""How much of each layer works at once, by an exact solver over the layers' foldings.

Either the smallest circuit that is fast enough, or the fastest one that is small enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil

from ...hw_models import Fabric, load_fabric
from ..errors import UnsupportedError, UsageError
from ..graph import Graph, Node
from ..solver import solve
from ..targets import Target
from .cost import design_resources, module_resources
from .design import lay_out
from .engines import check_engines, engine_of, unrolled_plans
from .goals import Goals
from .memory_style import with_fitting_memories
from .plan import Fold, RtlPlan
from .schedule import busy, schedule, with_deep_queues

EFFORT = 30.0
"""Limit of the solver in its own deterministic time."""
MOST_PRODUCTS = 512
"""Products at once of one layer, at most: larger ones make unwieldy text."""


@dataclass(frozen=True)
class Choice:
    """One folding of one node with its cycles per frame and predicted size."""

    fold: Fold
    cycles: int
    lut: int
    bram: int


def choices(
    graph: Graph, node: Node, fabric: Fabric, goals: Goals | None = None
) -> list[Choice]:
    """Foldings of a node that no other one beats in cycles, LUTs and block memories.

    Of the engines that ``goals`` leave, of both without goals. Unrolled forms are left out where
    they take more LUTs for certain than the goals allow or a folded one of their speed.
    """
    reload = goals is not None and goals.reload
    # the weights of an unrolled layer are wires
    engine = "folded" if reload else engine_of(node, goals.engines if goals else ())
    found = _folded(graph, node, fabric, reload) if engine != "unrolled" else []
    if engine == "unrolled":
        affordable = float("inf")
    else:
        affordable = goals.lut if goals and goals.lut else fabric.luts
        interval = (goals.interval if goals else None) or 0
        affordable = min([affordable, *(c.lut for c in found if c.cycles <= interval)])
    if engine != "folded":
        for fold, plan in unrolled_plans(graph, node, fabric, affordable):
            found.append(_choice(fold, plan, fabric))
    found.sort(key=lambda c: (c.cycles, c.lut, c.bram))
    kept: list[Choice] = []
    for choice in found:
        if not any(k.lut <= choice.lut and k.bram <= choice.bram for k in kept):
            kept.append(choice)
    return kept


def _choice(fold: Fold, plan: RtlPlan, fabric: Fabric) -> Choice:
    found = module_resources(plan, fabric)
    return Choice(fold, busy(plan.timing), round(found.lut), found.bram)


def _folded(graph: Graph, node: Node, fabric: Fabric, reload: bool) -> list[Choice]:
    """All foldings of a node; none where it has no Verilog."""
    inputs = graph.inputs_of(node)
    most_pe, most_simd = node.op.fold_limits(inputs, node.output)
    found: list[Choice] = []
    for pe, simd, serial in product(_counts(most_pe), _counts(most_simd), (False, True)):
        fold = Fold(pe, simd, serial, fabric.deep, reload=reload)
        if pe * simd > MOST_PRODUCTS:
            continue
        try:
            plan = node.op.rtl_plan(inputs, node.output, fold)
        except UnsupportedError:
            continue
        if plan is None:
            return []
        found.append(_choice(fold, plan, fabric))
    return found


def _counts(most: int) -> list[int]:
    """Numbers of lanes that need fewer rounds than any smaller number."""
    found = []
    rounds = most + 1
    for count in range(1, most + 1):
        if -(-most // count) < rounds:
            rounds = -(-most // count)
            found.append(count)
    return found


def choose_folds(graph: Graph, target: Target, goals: Goals) -> dict[str, Fold]:
    """The smallest circuit within all goals; the fastest one where no speed is asked for.

    Raises:
        UsageError: the goals cannot be met together; names the layer that binds.
    """
    fabric = load_fabric(target.name)
    check_engines(graph, goals.engines)
    options = {
        node.name: found
        for node in graph.nodes if (found := choices(graph, node, fabric, goals))
    }  # fmt: skip
    if not options:
        # nothing with Verilog: the layout names what is missing
        return {}
    if goals.lut is None:
        return _chosen(graph, target, options, goals, 0)
    # streams between layers depend on both sides' foldings: what they take is seen afterwards
    kept = ceil(goals.lut * fabric.kept_back)
    spare = kept
    while True:
        folds = _chosen(graph, target, options, goals, spare)
        # weights that find no block memory are LUTs, too
        design = with_fitting_memories(
            with_deep_queues(lay_out(graph, target, "net", folds)), fabric
        )
        over = ceil(design_resources(design, fabric).lut) + kept - goals.lut
        if over <= 0:
            return folds
        spare += over


def _chosen(
    graph: Graph, target: Target, options: Mapping[str, Sequence[Choice]], goals: Goals, spare: int
) -> dict[str, Fold]:
    """The best foldings of the layers that leave ``spare`` LUTs of the budget."""
    if goals.latency is None:
        return _solved(graph, options, goals, spare)
    return _fast_enough(graph, target, options, goals, spare)


def _fast_enough(
    graph: Graph, target: Target, options: Mapping[str, Sequence[Choice]], goals: Goals, spare: int
) -> dict[str, Fold]:
    """The largest interval, by bisection, whose smallest circuit keeps the latency."""
    steps = sorted({c.cycles for found in options.values() for c in found})
    steps = [s for s in steps if goals.interval is None or s <= goals.interval] or steps[:1]
    best: dict[str, Fold] | None = None
    low, high = 0, len(steps) - 1
    error: UsageError | None = None
    while low <= high:
        middle = (low + high) // 2
        try:
            folds = _solved(graph, options, replace(goals, interval=steps[middle]), spare)
        except UsageError as failed:
            error, low = failed, middle + 1
            continue
        timed = schedule(with_deep_queues(lay_out(graph, target, "net", folds)), 2)
        if timed is not None and goals.latency is not None and timed.latency <= goals.latency:
            best, low = folds, middle + 1
        else:
            high = middle - 1
    if best is None:
        raise error or UsageError(
            f"--goal latency={goals.latency}: no folding of this network is that fast; allow more"
            " cycles"
        )
    return best


def _solved(
    graph: Graph, options: Mapping[str, Sequence[Choice]], goals: Goals, spare: int
) -> dict[str, Fold]:
    from ortools.sat.python import cp_model

    _check_reach(graph, options, goals)
    model = cp_model.CpModel()
    picks = {
        name: [model.new_bool_var(f"{name}{i}") for i in range(len(found))]
        for name, found in options.items()
    }
    for chosen in picks.values():
        model.add_exactly_one(chosen)

    every = [pick for chosen in picks.values() for pick in chosen]

    def total(field: str) -> cp_model.LinearExpr:
        weights = [getattr(c, field) for found in options.values() for c in found]
        return cp_model.LinearExpr.weighted_sum(every, weights)

    if goals.lut is not None:
        model.add(total("lut") <= goals.lut - spare)
    if goals.bram is not None:
        model.add(total("bram") <= goals.bram)
    slowest = max(c.cycles for found in options.values() for c in found)
    interval = model.new_int_var(0, goals.interval or slowest, "interval")
    for name, found in options.items():
        cycles = cp_model.LinearExpr.weighted_sum(picks[name], [c.cycles for c in found])
        model.add(cycles <= interval)
    # block memories break ties of LUTs, LUTs break ties of speed
    if goals.interval is None:
        most = sum(max(c.lut for c in found) for found in options.values()) + 1
        model.minimize(interval * most + total("lut"))
    else:
        model.minimize(1000 * total("lut") + total("bram"))
    solver = solve(model, EFFORT)
    if solver is None:
        raise UsageError(_infeasible(graph, options, goals, spare))
    return {
        name: next(
            choice.fold
            for choice, pick in zip(options[name], chosen, strict=True)
            if solver.value(pick)
        )
        for name, chosen in picks.items()
    }


def _check_reach(
    graph: Graph, options: Mapping[str, Sequence[Choice]], goals: Goals
) -> None:
    if goals.interval is None:
        return
    slow = {
        name: min(c.cycles for c in found)
        for name, found in options.items()
        if min(c.cycles for c in found) > goals.interval
    }
    if slow:
        worst = max(slow, key=lambda name: slow[name])
        raise UsageError(
            f"--goal interval={goals.interval}: {graph[worst].source} needs {slow[worst]} cycles a"
            f" frame at its fastest; allow at least {slow[worst]} cycles, or make the layer smaller"
        )


def _infeasible(
    graph: Graph, options: Mapping[str, Sequence[Choice]], goals: Goals, spare: int
) -> str:
    """Which layer binds: the one that takes most of what is short, at its smallest."""
    limit = goals.interval or max(c.cycles for found in options.values() for c in found)
    fitting = {
        name: [c for c in found if c.cycles <= limit] for name, found in options.items()
    }
    for what, most, left in (("lut", goals.lut, spare), ("bram", goals.bram, 0)):
        least = {name: min(getattr(c, what) for c in found) for name, found in fitting.items()}
        needed = sum(least.values()) + left
        if most is not None and needed > most:
            worst = max(least, key=lambda name: least[name])
            share = f", {left} of them for streams and reserve" if left else ""
            return (
                f"--goal {what}={most}: at least {needed} predicted for one frame in {limit}"
                f" cycles{share}; {graph[worst].source} binds with {least[worst]}; allow more"
                " cycles a frame, more of the device, or fewer bits there"
            )
    return (
        f"--goal: LUTs {goals.lut} and block memories {goals.bram} cannot be kept together with"
        f" one frame in {limit} cycles; allow more of one of them"
    )
