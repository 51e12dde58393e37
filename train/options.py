# SPDX-License-Identifier: Apache-2.0
"""Checks the controller's options; the strengths it starts with."""

from __future__ import annotations

from collections.abc import Mapping

from ..deploy.errors import UsageError
from .cost import NetworkCost
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
        ("signal", signal, ("kl", "loss")),
        ("freeze", freeze, FREEZES),
    ]:
        if value not in known:
            raise UsageError(f"{label}: {value!r} found; {', '.join(known)} are supported")
    if budget and strength is not None:
        raise UsageError(
            "AdaQAT: budget and strength found; one of them is supported; a "
            "budget sets the strength by itself"
        )
    if budget and set(budget) == {"frames_per_second"}:
        raise UsageError(
            "budget: only frames_per_second found; foldings keep it at any width, so it cannot "
            "steer a search; add lut or bram"
        )
    if budget and set(budget) == {"ram_kb"}:
        raise UsageError(
            "budget: only ram_kb found; widths hardly move it, so it limits a search but cannot "
            "steer one; add flash_kb, cycles or latency_ms, or a strength"
        )
    if method != "adaqat" and not budget:
        raise UsageError(
            f"method: {method!r} without a budget found; it chooses widths for one; give a budget"
        )
    if steps < 1:
        raise UsageError(f"steps: {steps} found; at least 1 is needed")


def check_metrics(cost: NetworkCost, budget: Mapping[str, float]) -> None:
    """Refuse limits that a target does not price, or that are not positive.

    Raises:
        UsageError: names the metric and those that are priced.
    """
    for name, limit in budget.items():
        if name not in cost.metrics:
            raise UsageError(
                f"budget: {name!r} found; {cost.name} prices "
                f"{', '.join(cost.metrics)}; choose one of these"
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
        return {m: 1.0 if m in ("flash_kb", "bram") else 3.0 for m in budget}
    if isinstance(strength, Mapping):
        unknown = sorted(set(strength) - set(cost.metrics))
        if unknown:
            raise UsageError(
                f"strength: {', '.join(unknown)} found; {cost.name} prices "
                f"{', '.join(cost.metrics)}"
            )
        return dict(strength)
    if strength is None:
        strength = PAPER_STRENGTH if mode == "adaqat" else 1.0
    metric = next(m for m in ("bitops", "cycles", "instructions", "lut") if m in cost.metrics)
    return {metric: float(strength)}
