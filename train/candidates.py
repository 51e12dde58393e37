# SPDX-License-Identifier: Apache-2.0
"""Widths that a search has to beat: uniform points and a knapsack over measured sensitivities.

The knapsack is the recipe of HAWQ-V3 (Yao et al., ICML 2021): one sensitivity per tensor and width,
measured on the full-width network, summed, and minimised under the budget by an integer program.
The sensitivity here is the divergence of the predictions, whose second-order term is the same
quadratic form in the perturbation with the Fisher matrix in place of the Hessian's trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from . import ranks
from .bits import MAX_BITS, BitWidth
from .cost import NetworkCost
from .project import solve
from .search import Probe, bit_worth

UNIFORM = (2, 3, 4, 6, 8)
"""Widths of the uniform points."""
SENSITIVITY_STEPS = 2
"""Mini-batches over which sensitivities are averaged; the divergence needs no more."""

MEASURED = 6
"""Sensitivities are measured up to here; more bits cost next to nothing (and are extrapolated)."""

Assignment = dict[BitWidth, int]
Judge = Callable[[dict[str, Assignment]], tuple[dict[str, float], str]]
"""Loss of every candidate by name, and the best one's name; may add candidates of its own."""


@dataclass(frozen=True)
class Trial:
    """A candidate and how it did.

    Attributes:
        name: where it is from.
        bits: its widths.
        score: its loss, None where nothing had to be judged.
        costs: its cost by metric.
        chosen: whether it is the result.
    """

    name: str
    bits: dict[str, int]
    score: float | None
    costs: dict[str, float]
    chosen: bool


def list_trials(
    cost: NetworkCost, found: Mapping[str, Assignment], scores: Mapping[str, float], best: str
) -> list[Trial]:
    """What was compared, as a report shows it."""
    return [
        Trial(
            name,
            {w.name: b for w, b in bits.items()},
            scores.get(name),
            {m: cost.total(m, bits) for m in cost.limited},
            name == best,
        )
        for name, bits in found.items()
    ]


@dataclass
class Sensitivity:
    """Divergence of the predictions with one width changed at a time, summed over batches."""

    total: dict[str, dict[int, float]] = field(default_factory=dict)
    batches: int = 0

    def measure(
        self,
        widths: Iterable[BitWidth],
        probe: Probe,
        here: tuple[Tensor, Tensor | None],
        signal: str = "kl",
    ) -> None:
        """Probe every allowed width of every variable on the current mini-batch."""
        for width in widths:
            known = self.total.setdefault(width.name, {})
            for bits in width.allowed:
                needed = bits <= MEASURED or len(width.allowed) < 4 or width.kind == "channels"
                if bits != width.integer and needed:
                    value = ranks.mean(bit_worth(here, probe({width: bits}), signal))
                    known[bits] = known.get(bits, 0.0) + value
        self.batches += 1

    def damage(self, width: BitWidth) -> dict[int, float]:
        """Price of every number of bits, never negative.

        A hair more for fewer bits, so that free bits are taken.
        """
        known = {b: v / max(self.batches, 1) for b, v in self.total.get(width.name, {}).items()}
        damage = {}
        for bits in width.allowed:
            value = known.get(bits)
            if value is None and width.kind == "channels":
                value = 0.0
            elif value is None:  # above what was measured: a quarter of the error per bit
                near = max((b for b in known if b < bits), default=None)
                value = 0.0 if near is None else known[near] * 4.0 ** (near - bits)
            damage[bits] = max(value, 0.0) + 1e-9 * (MAX_BITS - bits)
        return damage


def uniform_points(
    cost: NetworkCost, budget: Mapping[str, float], widths: Sequence[BitWidth]
) -> dict[str, Assignment]:
    """The uniform assignments within a budget that no other one exceeds in both kinds of bits.

    Weights and activations each have one number of bits out of `UNIFORM`, or the nearest allowed
    one above it.
    """
    fitting: dict[tuple[int, int], Assignment] = {}
    kinds = {w.kind for w in widths}
    for weight in UNIFORM if "weight" in kinds else (MAX_BITS,):
        for act in UNIFORM if "act" in kinds else (MAX_BITS,):
            wanted = {"weight": weight, "act": act, "channels": MAX_BITS}
            bits = {w: w.at_least(wanted[w.kind]) for w in widths}
            if all(cost.total(m, bits) <= limit * (1 + 1e-12) for m, limit in budget.items()):
                fitting[weight, act] = bits
    return {
        f"uniform W{w}A{a}": bits
        for (w, a), bits in fitting.items()
        if not any((x >= w and y >= a and (x, y) != (w, a)) for x, y in fitting)
    }


def even_point(points: Mapping[str, Assignment]) -> str | None:
    """The name of the point whose weights and activations are most alike, then widest."""

    def rank(name: str) -> tuple[int, int]:
        weight, act = (int(part) for part in name.removeprefix("uniform W").split("A"))
        return min(weight, act), weight + act

    return max(points, key=rank, default=None)


def fill(
    cost: NetworkCost, bits: Mapping[BitWidth, int], budget: Iterable[str] = ()
) -> Assignment:
    """Raise every width that costs nothing: no metric of the table or the budget gets worse."""
    limits = {m: cost.total(m, bits) for m in dict.fromkeys((*cost.metrics, *budget))}
    domains = {
        w: [now] if w.kind == "channels" else [b for b in w.allowed if b >= now]
        for w, now in bits.items()
    }
    damage = {w: {b: float(MAX_BITS - b) for b in domain} for w, domain in domains.items()}
    return solve(cost, {m: v for m, v in limits.items() if v > 0}, domains, damage) or dict(bits)


def distinct(candidates: Mapping[str, Assignment]) -> dict[str, Assignment]:
    """Candidates without repetitions; equal ones keep the first name."""
    seen: dict[tuple[int, ...], str] = {}
    for name, bits in candidates.items():
        seen.setdefault(tuple(bits.values()), name)
    return {name: candidates[name] for name in seen.values()}
