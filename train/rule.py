# SPDX-License-Identifier: Apache-2.0
"""The rules that move one width, as functions of numbers only.

Finite-difference rule: Gernigon, Filip, Sentieys, Coggiola, Bruno, "AdaQAT: Adaptive Bit-Width
Quantization-Aware Training", AICAS 2024.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..deploy.errors import UsageError
from .bits import MAX_BITS, BitWidth

FREEZES = ("upper", "lower", "break_even")
GROWTH = {"weight": 4.0, "act": 4.0, "channels": 1.5}
"""How much more each further bit is worth where it was not measured: the error of a uniform
quantiser halves, its power quarters, with every bit; of channels the least important go first."""
STEP_LIMIT = 0.5
"""Largest move of n in one update of the paper's rule; a table in raw cycles could jump bits."""


def paper_update(
    width: BitWidth,
    loss: float,
    loss_below: float,
    hardware: float,
    *,
    eta: float = 0.1,
    max_crossings: int = 10,
    freeze: str = "upper",
) -> None:
    """One update of the published rule.

    ``g = (L(N) - L(N-1)) + lambda * (C(N) - C(N-1))`` and ``n <- n - eta*g``, floored (at the
    floor the width freezes). A width that rose from one N more than ``max_crossings`` times
    oscillates and freezes: at the upper of the two values (as released), at the lower one, or not
    at all (``break_even``: the controller rounds the average of n at the end of the search).

    Args:
        width: moved in place.
        loss: task loss at N.
        loss_below: task loss at N - 1 on the same mini-batch.
        hardware: ``lambda * (C(N) - C(N-1)) / C_ref``.
        eta: step size.
        max_crossings: rises tolerated.
        freeze: ``upper``, ``lower`` or ``break_even``.
    """
    if freeze not in FREEZES:
        raise UsageError(f"freeze: {freeze!r} found; {', '.join(FREEZES)} are supported")
    gradient = (loss - loss_below) + hardware
    old, new = width.move(-max(-STEP_LIMIT, min(STEP_LIMIT, eta * gradient)))
    if width.n <= width.lo - 0.5:
        width.freeze(width.lo)
    elif new > old and width.crossings[old] > max_crossings and freeze != "break_even":
        width.freeze(new if freeze == "upper" else old)


def normalised_update(
    width: BitWidth, damage: float, saving: float, share: float, *, eta: float = 0.4
) -> None:
    """One update of the repaired rule: ``n -= eta * clip((saving - damage)/share, -1, 1)``.

    Args:
        width: moved in place; never frozen here.
        damage: what the bit is worth (smoothed signal).
        saving: ``lambda * dC``, what the bit costs.
        share: ``lambda`` times the average cost of one bit of this width, so that small and large
            layers move alike.
        eta: bits per full step.
    """
    if share > 0:
        width.move(-eta * max(-1.0, min(1.0, (saving - damage) / share)))


def damage_curve(
    measured: Mapping[int, float], default: float = 1e-3, growth: float = GROWTH["weight"]
) -> dict[int, float]:
    """Damage of running at b = 1..8 bits instead of 8, from the price of single bits.

    ``measured[N]`` is the price of going from N to N - 1. Widths that were not visited follow the
    nearest one by a factor of ``growth`` per bit. Strictly falling, so that free bits are taken.
    """
    price: dict[int, float] = {}
    for level in range(2, MAX_BITS + 1):
        if measured:
            near = min(measured, key=lambda known: (abs(known - level), known))
            price[level] = max(measured[near], 1e-7) * growth ** (near - level)
        else:
            price[level] = default * growth ** (4 - level)
    curve = {MAX_BITS: 0.0}
    for bits in range(MAX_BITS - 1, 0, -1):
        curve[bits] = curve[bits + 1] + price[bits + 1]
    return curve
