# SPDX-License-Identifier: Apache-2.0
"""Learns from judged candidates: trials under an additive model of the loss, corrected as it goes.

Sensitivities are measured with one tensor narrowed at a time, on weights that have not adapted to
it; a short training recovers some tensors nearly whole and others hardly. So the curves only say
where to begin: every judged assignment is one equation for how much of each curve remains, the
posterior of these shares is sampled (Thompson, Biometrika 25, 1933, with less than its spread), and
the best assignment of the sample within the budget is judged next. The best few are judged again
after a longer training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .bits import BitWidth
from .candidates import Assignment
from .project import solve
from .proposals import damage_curves, near_channels

if TYPE_CHECKING:
    from .controller import AdaQAT

Damage = Mapping[BitWidth, Mapping[int, float]]
Trainer = Callable[[Mapping[str, Assignment], int], dict[str, float]]
Floats = npt.NDArray[np.float64]

FINALISTS = 3
LONGER = 2
"""The finalists train so many times as long."""
NOISE = 0.004
"""Standard deviation of a score, in nats: the same assignment after other mini-batches."""
OF_WIDTH, OF_BITS = 0.6, 0.4
"""Relative standard deviation of what remains of a curve: of all of it, and of each of its bits."""
DOUBT, MORE_DOUBT = 0.4, 0.3
"""Every second sample is the posterior's mean, the others leave it by this part of its spread; an
assignment that was judged before raises the part. Full samples explore for too long: a few dozen
unknowns, a dozen scores."""
LEAST = 0.05
"""A sampled share of a curve is no smaller."""
TRIES = 4
"""Samples per trial, at most: one may repeat what was judged, or not fit the arena."""


class DamageModel:
    """Posterior of the loss after training, as a function of the widths.

    ``loss = base + scale * sum over widths of curve[bits] * share[width, bits]`` with shares around
    one; base and scale are fitted to all scores, the shares are Gaussian.

    Args:
        curves: damage of every width at every number of bits, measured before training.
    """

    def __init__(self, curves: Damage) -> None:
        self.curves = curves
        self.place = {
            (w, b): i for i, (w, b) in enumerate((w, b) for w, c in curves.items() for b in c)
        }
        same = np.array([[x is y for y, _ in self.place] for x, _ in self.place], dtype=np.float64)
        self.prior: Floats = OF_WIDTH**2 * same + OF_BITS**2 * np.eye(len(self.place))

    def _row(self, bits: Assignment) -> Floats:
        row = np.zeros(len(self.place))
        for width, value in bits.items():
            row[self.place[width, value]] = self.curves[width][value]
        return row

    def sample(
        self,
        judged: Sequence[tuple[Assignment, float]],
        random: np.random.Generator,
        doubt: float = 1.0,
    ) -> dict[BitWidth, dict[int, float]]:
        """Curves drawn from the posterior after these scores; none falls below zero.

        Args:
            judged: assignments and their scores.
            random: draws.
            doubt: the posterior's standard deviations are taken times this.
        """
        rows = np.array([self._row(bits) for bits, _ in judged])
        scores = np.array([score for _, score in judged])
        base, scale = _line(rows.sum(1), scores)
        seen = rows * scale
        spread = seen @ self.prior @ seen.T + NOISE**2 * np.eye(len(rows))
        gain = np.linalg.solve(spread, seen @ self.prior).T
        mean = 1.0 + gain @ (scores - base - seen.sum(1))
        covariance = doubt**2 * (self.prior - gain @ seen @ self.prior)
        share = random.multivariate_normal(mean, (covariance + covariance.T) / 2, method="eigh")
        return {
            w: {b: scale * d * max(share[self.place[w, b]], LEAST) for b, d in curve.items()}
            for w, curve in self.curves.items()
        }


def _line(sums: Floats, scores: Floats) -> tuple[float, float]:
    """(base, scale) of the line through the scores; it never falls."""
    spread = sums - sums.mean()
    power = float(spread @ spread)
    scale = float(spread @ scores) / power if power > 0 else 0.0
    scale = max(scale, 1e-3)
    return float(scores.mean() - scale * sums.mean()), scale


def refine(
    controller: AdaQAT, found: dict[str, Assignment], train: Trainer, trials: int
) -> tuple[dict[str, float], str]:
    """Judge candidates, then others that their scores suggest, then the best ones for longer.

    Args:
        controller: at the end of its search.
        found: candidates by name, each within the budget; those suggested are added.
        train: trains assignments so many times as long as usual and scores them.
        trials: suggestions to judge; 0 judges the candidates only.

    Returns:
        Scores by name (of the finalists: those after the longer training) and the best name.
    """
    scores = train(found, 1)
    if trials == 0:
        return scores, min(scores, key=scores.__getitem__)
    curves, limits = damage_curves(controller), controller.aim
    if any(controller.cost.total(m, b) > v for b in found.values() for m, v in limits.items()):
        limits = controller.budget
    model, random = DamageModel(curves), np.random.default_rng(0)
    # of channels only what was judged and what is near: a term of four widths has many cells
    domains = {
        w: sorted({b for bits in found.values() for b in near_channels(w, bits[w])})
        if w.kind == "channels"
        else w.allowed
        for w in curves
    }
    known = {tuple(bits.values()) for bits in found.values()}
    for number in range(1, trials + 1):
        judged = [(found[name], score) for name, score in scores.items()]
        for attempt in range(TRIES):
            doubt = DOUBT * (number % 2) + MORE_DOUBT * attempt
            bits = solve(controller.cost, limits, domains, model.sample(judged, random, doubt))
            if bits is None or tuple(bits.values()) in known:
                continue
            known.add(tuple(bits.values()))
            if controller.in_arena(bits):
                found[f"trial {number}"] = bits
                scores |= train({f"trial {number}": bits}, 1)
                break
    best = sorted(scores, key=scores.__getitem__)[:FINALISTS]
    final = train({name: found[name] for name in best}, LONGER)
    return scores | final, min(final, key=final.__getitem__)
