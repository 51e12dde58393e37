# SPDX-License-Identifier: Apache-2.0
"""The two searches behind the controller: what is probed when, and how a width answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from . import ranks
from .bits import BitWidth
from .cost import NetworkCost
from .rule import normalised_update

Probe = Callable[[Mapping[BitWidth, int]], tuple[Tensor, Tensor | None]]
"""Runs the current mini-batch at other widths: (loss, output)."""


@dataclass(frozen=True)
class Verdict:
    """Why a width is what it is.

    Attributes:
        name: the width.
        bits: its value now.
        n: its relaxed value.
        frozen: whether it still moves.
        probed: the N whose bit was last priced.
        worth: smoothed loss (or KL, nats) that removing the bit costs.
        price: strength times the cost that removing it saves; a bit stays while worth > price.
    """

    name: str
    bits: int
    n: float
    frozen: bool
    probed: int | None
    worth: float | None
    price: float | None

    def why(self) -> str:
        """The same as a sentence."""
        if self.probed is None or self.worth is None or self.price is None:
            return (
                "never probed: the table gave no reason to lower it, or the method does not probe"
            )
        relation = "more" if self.worth > self.price else "less"
        what = f"eighth {self.probed} of the channels" if self.name[:2] == "c:" else (
            f"bit {self.probed}"
        )
        return (
            f"{what} was worth {self.worth:.2g} nats at the last probe, {relation} than "
            f"the {self.price:.2g} its cost weighs"
        )


@dataclass
class Search:
    """State both searches share.

    Attributes:
        widths: the searched widths by name.
        cost: prices them.
        strength: nats per 1x of the all-8 cost, by metric; a budget moves it.
        reference: all-8 cost by metric.
        eta: step size.
        turn: position of the round-robin.
        worth: smoothed price in nats of single bits: by width, by the N that loses its bit.
        last: (N, worth, price) of the last probe, by width.
    """

    widths: dict[str, BitWidth]
    cost: NetworkCost
    strength: dict[str, float]
    reference: dict[str, float]
    eta: float
    turn: int = 0
    worth: dict[str, dict[int, float]] = field(default_factory=dict)
    last: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def open(self, kind: str | None = None) -> list[BitWidth]:
        """Widths that still move."""
        return [
            w for w in self.widths.values() if not w.frozen and (kind is None or w.kind == kind)
        ]

    def priced(self, one: Callable[[str], float]) -> float:
        """Sum over metrics of strength times a cost in units of the all-8 cost."""
        return sum(s * one(m) / self.reference[m] for m, s in self.strength.items())

    def update(self, probe: Probe, loss: Tensor, output: Tensor | None) -> None:
        """Probe and move widths once."""
        raise NotImplementedError


@dataclass
class RepairedSearch(Search):
    """Several probes per step in turn, smoothed signal, normalised moves, chord slopes."""

    probes: int = 2
    smoothing: float = 0.8
    signal: str = "kl"

    def update(self, probe: Probe, loss: Tensor, output: Tensor | None) -> None:
        """See `Search.update`."""
        order = self.open()
        for _ in range(min(self.probes, len(order))):
            width = order[self.turn % len(order)]
            at_floor = width.integer <= width.lo
            self.turn += 1
            # At the floor the bit above is priced instead, every second turn, so that a width
            # which one noisy probe sent down can come back.
            if at_floor and ((self.turn // len(order)) % 2 or width.integer == width.hi):
                continue
            level = width.above(width.integer) if at_floor else width.integer
            lower = width.below(level)
            other = probe({width: level if at_floor else lower})
            here = (loss, output)
            high, low = (other, here) if at_floor else (here, other)
            value = ranks.mean(bit_worth(high, low, self.signal)) / (level - lower)
            known = self.worth.setdefault(width.name, {})
            known[level] = value + self.smoothing * (known.get(level, value) - value)
            saving = self.priced(lambda m, w=width, n=level: self.cost.slope(m, w, n))  # type: ignore[misc]
            share = self.priced(lambda m, w=width: self.cost.share(m, w))  # type: ignore[misc]
            self.last[width.name] = (level, known[level], saving)
            normalised_update(width, known[level], saving, share, eta=self.eta)


def bit_worth(
    high: tuple[Tensor, Tensor | None], low: tuple[Tensor, Tensor | None], signal: str
) -> float:
    """What the bit between two runs of one mini-batch is worth, in nats.

    Args:
        high: (loss, output) with the bit.
        low: (loss, output) without it.
        signal: ``loss`` (difference of the losses), ``kl`` (divergence of the predictions, which
            needs no averaging over dozens of batches) or ``squares`` (mean squared change of the
            outputs: the same for outputs that are no class scores). Outputs of one column have no
            distribution; they use the loss.
    """
    if signal == "squares" and high[1] is not None and low[1] is not None:
        return float((high[1].detach().float() - low[1].detach().float()).square().mean())
    if signal == "loss" or high[1] is None or low[1] is None or high[1].shape[1] == 1:
        return float(low[0] - high[0])
    log_high, log_low = (F.log_softmax(o.detach().float(), 1) for o in (high[1], low[1]))
    return float((log_high.exp() * (log_high - log_low)).sum(1).mean())
