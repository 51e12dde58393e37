# SPDX-License-Identifier: Apache-2.0
"""The rule as its first author released it, with per-layer state and without its leaks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import ranks
from .bits import BitWidth, override
from .module import QuantModule
from .rule import paper_update
from .search import Probe, Search

ACTIVATION_PART = 0.5
"""The release's lambda is 0.02 for weights and 0.01 for activations."""


@dataclass
class PaperSearch(Search):
    """Weights first, then activations; in each step one layer, chosen by its rounding error.

    The open weight tensor of *largest* squared difference between its values at N and N - 1 moves;
    while weights are open, all activations move together, as one width. After that the open
    activation of *smallest* difference moves. (The two orders are opposite in the release, which
    gives no reason.) With one weight and one activation width, as in the paper, both move in every
    step and there is nothing to choose.

    Unlike the release, probe and restore concern the chosen layer's own width only.
    """

    module: QuantModule | None = None
    max_crossings: int = 10
    freeze: str = "upper"

    def update(self, probe: Probe, loss: Tensor, output: Tensor | None) -> None:
        """See `Search.update`."""
        self.turn += 1
        weights, acts = self.open("weight"), self.open("act")
        moves = []
        if weights:
            moves.append([max(weights, key=self.error)])
            if acts:
                moves.append(acts)
        elif acts:
            moves.append([min(acts, key=self.error)])
        at = ranks.mean(float(loss))
        below = []
        for group in moves:
            lower = {w: w.below(w.integer) for w in group if w.below(w.integer) > 0}
            below.append(ranks.mean(float(probe(lower)[0])) if lower else at)
        for group, loss_below in zip(moves, below, strict=True):
            for width in group:
                self._move(width, at, loss_below, len(group))

    def _move(self, width: BitWidth, at: float, loss_below: float, together: int) -> None:
        bits = width.integer
        hardware = self.priced(lambda m: self.cost.difference(m, width, bits))
        if together == 1 and width.kind == "act" and len(self.widths) > 2:
            hardware *= ACTIVATION_PART
        self.last[width.name] = (bits, (loss_below - at) / together, hardware)
        self.worth.setdefault(width.name, {})[bits] = (loss_below - at) / together
        paper_update(
            width,
            at,
            loss_below,
            hardware,
            eta=self.eta,
            max_crossings=self.max_crossings,
            freeze=self.freeze,
        )

    @torch.no_grad()
    def error(self, width: BitWidth) -> float:
        """Mean squared difference between a width's tensors at N and at the next width below."""
        module, lower = self.module, max(width.below(width.integer), 1)
        assert module is not None
        total, count = 0.0, 0
        for record in module.network.records:
            pairs: list[tuple[Tensor, Tensor]] = []
            if record.weight is not None and module.weight_quantizer(record).width is width:
                quantizer, weight = module.weight_quantizer(record), module.tensor(record.weight)
                with override({width: lower}):
                    low = quantizer(weight)
                pairs.append((quantizer(weight), low))
            memory = module.replay.memory if module.replay is not None else None
            if memory is not None and record.name in memory.values:
                act = module.act_quantizer(record.name)
                if act.width is width:
                    value = memory.values[record.name]
                    with override({width: lower}):
                        pairs.append((value, act(value, (-torch.inf, torch.inf))))
            for high, low in pairs:
                total += float((high - low).double().square().sum())
                count += high.numel()
        return ranks.mean(total / count if count else 0.0)
