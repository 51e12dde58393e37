# SPDX-License-Identifier: Apache-2.0
"""The arena where results may lie over the inputs they replace.

As `memory`, with pairs that need not lie apart: the later one may start a proved distance below
the earlier one. The placement is a constraint problem, solved exactly by OR-tools CP-SAT within a
deterministic effort limit; it starts from the best of several greedy orders and of the plan
without overlaps, so it is never worse than either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .memory import ALIGNMENT, SOLVER_BUFFERS, SOLVER_EFFORT, Buffer, MemoryPlan, plan_memory
from .solver import solve

Offsets = dict[str, int]


@dataclass(frozen=True)
class Overlap:
    """``early`` and ``late`` may share bytes where early's offset - late's >= distance."""

    early: str
    late: str
    distance: int


def plan_overlapping(buffers: Sequence[Buffer], overlaps: Sequence[Overlap]) -> MemoryPlan:
    """Place all buffers; deterministic."""
    aligned = [Buffer(b.name, _up(b.size), b.first, b.last) for b in buffers]
    rules = {(one.early, one.late): _up(one.distance) for one in overlaps}
    orders: list[Callable[[Buffer], tuple[int, ...]]] = [
        lambda b: (-b.size, b.first),
        lambda b: (-(b.last - b.first), -b.size, b.first),
        lambda b: (b.first, -b.size),
        lambda b: (-b.last, -b.size),
    ]
    plans = [plan_memory(buffers).offsets]
    plans += [_greedy(sorted(aligned, key=order), rules) for order in orders]
    best = min(plans, key=lambda offsets: _size(aligned, offsets))
    bound = max((b.size for b in aligned), default=0)
    if _size(aligned, best) > bound and len(aligned) <= SOLVER_BUFFERS:
        best, bound = _solve(aligned, rules, best)
    return MemoryPlan(best, _size(aligned, best), bound)


def _up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _size(buffers: Sequence[Buffer], offsets: Offsets) -> int:
    return max((offsets[b.name] + b.size for b in buffers), default=0)


def _greedy(buffers: Sequence[Buffer], rules: dict[tuple[str, str], int]) -> Offsets:
    """Each buffer in the given order at the lowest offset that fits those placed before it."""
    placed: Offsets = {}
    others: list[Buffer] = []
    for buffer in buffers:
        rivals = [(other, placed[other.name]) for other in others if other.meets(buffer)]
        starts = {0}
        for other, offset in rivals:
            starts.add(offset + other.size)
            for pair, sign in (((other.name, buffer.name), -1), ((buffer.name, other.name), 1)):
                if pair in rules:
                    starts |= {offset + sign * rules[pair], offset}
        placed[buffer.name] = next(
            start
            for start in sorted(start for start in starts if start >= 0)
            if all(_fits(buffer, start, other, offset, rules) for other, offset in rivals)
        )
        others.append(buffer)
    return placed


def _fits(
    a: Buffer, start: int, b: Buffer, offset: int, rules: dict[tuple[str, str], int]
) -> bool:
    apart = start + a.size <= offset or offset + b.size <= start
    if (a.name, b.name) in rules:
        return apart or start - offset >= rules[a.name, b.name]
    if (b.name, a.name) in rules:
        return apart or offset - start >= rules[b.name, a.name]
    return apart


def _solve(
    buffers: Sequence[Buffer], rules: dict[tuple[str, str], int], best: Offsets
) -> tuple[Offsets, int]:
    """(offsets, proved lower bound) from CP-SAT: every pair below, above or in a legal overlap."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    top = _size(buffers, best) // ALIGNMENT
    height = model.new_int_var(max(b.size for b in buffers) // ALIGNMENT, top, "height")
    at = {b.name: model.new_int_var(0, top - b.size // ALIGNMENT, b.name) for b in buffers}
    for i, a in enumerate(buffers):
        model.add(at[a.name] + a.size // ALIGNMENT <= height)
        model.add_hint(at[a.name], best[a.name] // ALIGNMENT)
        for b in buffers[:i]:
            if not a.meets(b):
                continue
            ways = []
            for low, high in ((a, b), (b, a)):
                gaps = [low.size]
                if (high.name, low.name) in rules:
                    gaps = [min(low.size, rules[high.name, low.name])]
                for gap in gaps:
                    way = model.new_bool_var("")
                    model.add(at[high.name] - at[low.name] >= gap // ALIGNMENT).only_enforce_if(way)
                    ways.append(way)
            model.add_bool_or(ways)
    model.minimize(height)
    solver = solve(model, SOLVER_EFFORT)
    if solver is None:
        return best, 0
    bound = int(solver.best_objective_bound) * ALIGNMENT
    found = {name: int(solver.value(var)) * ALIGNMENT for name, var in at.items()}
    return (found, bound) if _size(buffers, found) < _size(buffers, best) else (best, bound)
