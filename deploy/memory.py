# SPDX-License-Identifier: Apache-2.0
"""The arena: where every intermediate tensor and every scratch buffer lies.

Two buffers may share bytes when their lifetimes do not overlap. Several greedy orders are tried;
where none reaches the lower bound (the largest sum of buffers alive at once) and the problem is
small, OR-tools CP-SAT looks for a better placement under a deterministic effort limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .solver import solve

ALIGNMENT = 4
SOLVER_BUFFERS = 80
"""Largest number of buffers handed to the solver."""
SOLVER_EFFORT = 2.0
"""CP-SAT's deterministic time limit: the same work, and the same answer, on every machine."""


@dataclass(frozen=True)
class Buffer:
    """Bytes needed from step ``first`` to step ``last``, both included."""

    name: str
    size: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Byte offsets by buffer name and the size of the arena."""

    offsets: dict[str, int]
    size: int
    lower_bound: int


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Place all buffers; deterministic."""
    aligned = [
        Buffer(b.name, -(-b.size // ALIGNMENT) * ALIGNMENT, b.first, b.last) for b in buffers
    ]
    steps = sorted({b.first for b in aligned})
    bound = max(
        (sum(b.size for b in aligned if b.first <= step <= b.last) for step in steps), default=0
    )
    orders: list[Callable[[Buffer], tuple[int, ...]]] = [
        lambda b: (-b.size, b.first),
        lambda b: (-(b.last - b.first), -b.size, b.first),
        lambda b: (-b.size * (b.last - b.first + 1), b.first),
        lambda b: (b.first, -b.size),
    ]
    best = min((_greedy(sorted(aligned, key=order)) for order in orders), key=lambda plan: plan[1])
    if best[1] > bound and len(aligned) <= SOLVER_BUFFERS:
        best = _solve(aligned, best, bound)
    return MemoryPlan(best[0], best[1], bound)


def _greedy(buffers: Sequence[Buffer]) -> tuple[dict[str, int], int]:
    """First fit in the given order, each at the lowest offset free during its whole life."""
    placed: list[tuple[Buffer, int]] = []
    for buffer in buffers:
        taken = sorted((o, o + b.size) for b, o in placed if b.meets(buffer))
        offset = 0
        for start, end in taken:
            if offset + buffer.size <= start:
                break
            offset = max(offset, end)
        placed.append((buffer, offset))
    size = max((o + b.size for b, o in placed), default=0)
    return {b.name: o for b, o in placed}, size


def _solve(
    buffers: Sequence[Buffer], best: tuple[dict[str, int], int], bound: int
) -> tuple[dict[str, int], int]:
    """CP-SAT rectangle packing: time along one axis, address along the other."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    top = best[1] // ALIGNMENT
    height = model.new_int_var(bound // ALIGNMENT, top, "height")
    offsets, times, spaces = {}, [], []
    for b in buffers:
        words = b.size // ALIGNMENT
        start = model.new_int_var(0, top - words, b.name)
        model.add(start + words <= height)
        offsets[b.name] = start
        times.append(model.new_fixed_size_interval_var(b.first, b.last - b.first + 1, ""))
        spaces.append(model.new_fixed_size_interval_var(start, words, ""))
        model.add_hint(start, best[0][b.name] // ALIGNMENT)
    model.add_no_overlap_2d(times, spaces)
    model.minimize(height)
    solver = solve(model, SOLVER_EFFORT)
    if solver is None:
        return best
    found = {name: solver.value(start) * ALIGNMENT for name, start in offsets.items()}
    size = max(found[b.name] + b.size for b in buffers)
    return (found, size) if size < best[1] else best
