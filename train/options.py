# SPDX-License-Identifier: Apache-2.0
"""Checks the controller's options; the strengths it starts with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..deploy.errors import UsageError
from .bits import BitWidth
from .cost import NetworkCost
from .module import QuantModule
from .rule import FREEZES

METHODS = ("adaqat", "uniform", "knapsack", "fracbits", "softmax")
PAPER_STRENGTH = 0.02 * 64
"""The released lambda, 0.02 per unit of N_w*N_a, in units of the all-8 cost (64)."""


def check_options(
    method: str,
    mode: str,
    signal: str,
    freeze: str,
    budget: Mapping[str, float] | None,
    strength: float | Mapping[str, float] | None,
    steps: int,
) -> None:
    """Refuse unknown or contradicting options of `AdaQAT`.

    Raises:
        UsageError: names what was found and what is supported.
    """
    for label, value, known in [
        ("method", method, METHODS),
        ("mode", mode, ("repaired", "adaqat")),
        ("signal", signal, ("kl", "loss", "squares")),
        ("freeze", freeze, FREEZES),
    ]:
        if value not in known:
            raise UsageError(f"{label}: {value!r} found; {', '.join(known)} are supported")
    if budget and strength is not None:
        raise UsageError(
            "AdaQAT: budget and strength found; one of them is supported; a "
            "budget sets the strength by itself"
        )
    if method != "adaqat" and not budget:
        raise UsageError(
            f"method: {method!r} without a budget found; it chooses widths for one; give a budget"
        )
    if steps < 1:
        raise UsageError(f"steps: {steps} found; at least 1 is needed")


@dataclass(frozen=True)
class Limits:
    """A budget by what keeps it.

    Attributes:
        steering: what widths are searched under, by metric.
        ram_kb: checked on the planned code.
        frames_per_second: kept by a circuit's folding, at any width.
        latency_ms: the same; of other targets it steers.
    """

    steering: dict[str, float]
    ram_kb: float | None = None
    frames_per_second: float | None = None
    latency_ms: float | None = None


def sort_budget(budget: Mapping[str, float] | None, circuit: bool) -> Limits:
    """Take apart what steers a search and what only limits it.

    Raises:
        UsageError: limits, but none that steers.
    """
    steering = dict(budget or {})
    apart = ["frames_per_second", "ram_kb", *(["latency_ms"] if circuit else [])]
    limits = Limits(steering, **{m: steering.pop(m) for m in apart if m in steering})
    if budget and not steering:
        if limits.ram_kb is not None:
            raise UsageError(
                "budget: only ram_kb found; widths hardly move it, so it limits a search but "
                "cannot steer one; add flash_kb, cycles or latency_ms, or a strength"
            )
        raise UsageError(
            f"budget: only {' and '.join(budget)} found; foldings keep that at any width, so it "
            "cannot steer a search; add lut, bram or dsp"
        )
    return limits


def check_pruning(prune: bool, method: str, mode: str, target: object) -> None:
    """Refuse to prune channels where no rule or table does.

    Raises:
        UsageError: names the option that stands against it.
    """
    known = [
        ("mode", mode, mode == "repaired" or method != "adaqat", "repaired"),
        ("method", method, method not in ("fracbits", "softmax"), "adaqat, knapsack and uniform"),
        ("target", target, target is not None and target != "bitops", "a cost table"),
        ("target", target, not str(target).startswith("fpga-"), "a microcontroller's table"),
    ]
    for label, value, good, supported in known:
        if prune and not good:
            raise UsageError(
                f"prune: {label} {value!r} found; {supported} is supported with channels that may "
                "go; prepare with prune=0 or change it"
            )


def check_metrics(cost: NetworkCost, budget: Mapping[str, float]) -> None:
    """Refuse limits that a target does not price, or that are not positive.

    Raises:
        UsageError: names the metric and those that are priced.
    """
    for name, limit in budget.items():
        if name not in cost.limited:
            raise UsageError(
                f"budget: {name!r} found; {cost.name} prices "
                f"{', '.join(cost.limited)}; choose one of these"
            )
        if not limit > 0:
            raise UsageError(f"budget: {name} = {limit}; a positive number is needed")


def first_strengths(
    cost: NetworkCost,
    budget: Mapping[str, float],
    strength: float | Mapping[str, float] | None,
    mode: str,
) -> dict[str, float]:
    """Strength by metric at the start of a search.

    Raises:
        UsageError: a metric that the target does not price, or a budget that is not positive.
    """
    check_metrics(cost, budget)
    if budget:
        return {m: 1.0 if m in ("flash_kb", "bram", "dsp") else 3.0 for m in budget}
    if isinstance(strength, Mapping):
        unknown = sorted(set(strength) - set(cost.limited))
        if unknown:
            raise UsageError(
                f"strength: {', '.join(unknown)} found; {cost.name} prices "
                f"{', '.join(cost.limited)}"
            )
        return dict(strength)
    if strength is None:
        strength = PAPER_STRENGTH if mode == "adaqat" else 1.0
    metric = next(m for m in ("bitops", "cycles", "instructions", "lut") if m in cost.metrics)
    return {metric: float(strength)}


def searched_widths(
    module: QuantModule, cost: NetworkCost, strength: Mapping[str, float], method: str
) -> dict[str, BitWidth]:
    """Widths by name that a search moves: free ones that some steering metric prices.

    Rivals choose bits only; their channels all stay.
    """
    return {
        w.name: w
        for w in module.widths
        if not w.fixed
        and (w.kind != "channels" or method == "adaqat")
        and any(cost.share(m, w) > 0 for m in strength)
    }
