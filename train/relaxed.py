# SPDX-License-Identifier: Apache-2.0
"""Rival searches by gradient, for comparison in the same code: mixtures of quantised tensors.

``fracbits`` (Yang and Jin, AAAI 2021): a real width mixes the tensors of its two neighbours.
``softmax`` (differentiable architecture search over widths, as in EdMIPS, Cai and Vasconcelos, CVPR
2020): every width has a share. Both add ``KAPPA * |cost / budget - 1|`` to the loss, with the cost
of the mixture bilinear in the shares (functions that nodes share are left out of it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import ranks
from .bits import BitWidth
from .candidates import UNIFORM
from .search import Probe, Search

KAPPA = 1.0
"""Weight of the cost in the loss, FracBits' default."""
RATES = {"fracbits": 0.03, "softmax": 0.05}
"""Adam's step size for real widths (bits) and for logits."""


@dataclass
class RelaxedSearch(Search):
    """Widths as parameters of the forward pass; `share` is what the module mixes by."""

    method: str = "fracbits"
    limits: Mapping[str, float] = field(default_factory=dict)
    steps: int = 1000
    values: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """One parameter per real width, one per candidate width of a softmax."""
        for name, width in self.widths.items():
            start = [width.n] if self.method == "fracbits" else [0.0] * len(self.choices(width))
            value = torch.tensor(start, dtype=torch.float64, requires_grad=True)
            self.values[name] = value
            self.moments[name] = (torch.zeros_like(value), torch.zeros_like(value))

    def choices(self, width: BitWidth) -> list[int]:
        """Widths a softmax chooses from."""
        return [b for b in width.allowed if b in UNIFORM] or list(width.allowed)

    def share(self, width: BitWidth) -> list[tuple[int, Tensor]] | None:
        """Bits and shares of a width (float32, with gradient), None where it is not searched."""
        if self.widths.get(width.name) is not width:
            return None
        return [(bits, part.float()) for bits, part in self._parts(width)]

    def _parts(self, width: BitWidth) -> list[tuple[int, Tensor]]:
        value = self.values[width.name]
        if self.method == "softmax":
            return list(zip(self.choices(width), value.softmax(0), strict=True))
        n = value[0]
        high = width.at_least(int(-(-float(n.detach()) // 1)))
        low = max((b for b in width.allowed if b < high), default=high)
        if low == high:
            return [(high, n * 0 + 1)]
        up = (n - low) / (high - low)
        return [(low, 1 - up), (high, up)]

    def expected(self, metric: str) -> Tensor:
        """Cost of the mixture."""
        parts = {w: self._parts(w) for w in self.widths.values()}
        total = torch.tensor(self.cost.fixed.get(metric, 0.0), dtype=torch.float64)
        for term in self.cost.terms:
            cells: list[tuple[dict[BitWidth, int], Tensor | float]] = [({}, 1.0)]
            for width in dict.fromkeys(term.widths):
                if width in parts:
                    cells = [
                        ({**bits, width: b}, part * p)
                        for bits, part in cells
                        for b, p in parts[width]
                    ]
            for bits, part in cells:
                total = total + term.at(bits, metric) * part
        return total

    def update(self, probe: Probe, loss: Tensor, output: Tensor | None) -> None:
        """Add the cost's gradient to the loss's, and take one step of Adam; nothing is probed."""
        self.turn += 1
        # the task's gradients are averages over ranks, the cost is the same on each
        for value in self.values.values():
            if value.grad is not None:
                value.grad = torch.tensor([ranks.mean(float(g)) for g in value.grad]).double()
        if self.limits:
            price = sum((self.expected(m) / v - 1).abs() for m, v in self.limits.items())
            (KAPPA * price).backward()  # type: ignore[union-attr]
        rate = max(RATES[self.method], 10.0 / self.steps if self.method == "fracbits" else 0.0)
        with torch.no_grad():
            for name, value in self.values.items():
                if value.grad is None:
                    continue
                first, second = self.moments[name]
                first.lerp_(value.grad, 0.1)
                second.lerp_(value.grad.square(), 0.01)
                a, b = 1 - 0.9**self.turn, 1 - 0.99**self.turn
                value -= rate * (first / a) / ((second / b).sqrt() + 1e-8)
                width = self.widths[name]
                if self.method == "fracbits":
                    value.clamp_(width.lo, width.hi)
                value.grad = None
                width.n = float(sum(bits * float(part) for bits, part in self._parts(width)))

    def damage(self) -> dict[BitWidth, dict[int, float]]:
        """How far an assignment is from what was learned."""
        found = {}
        for width in self.widths.values():
            if self.method == "fracbits":
                n = float(self.values[width.name].detach())
                found[width] = {b: max(0.0, n - b) - 1e-6 * b for b in width.allowed}
                continue
            known = {b: -float(p.detach().log()) for b, p in self._parts(width)}
            found[width] = {
                b: min(v + 0.5 * abs(c - b) for c, v in known.items()) - 1e-6 * b
                for b in width.allowed
            }
        return found

    def wanted(self) -> dict[BitWidth, int]:
        """Nearest integer width, or the one of largest share."""
        return {
            w: w.nearest(float(self.values[n].detach()))
            if self.method == "fracbits"
            else max(self._parts(w), key=lambda part: float(part[1].detach()))[0]
            for n, w in self.widths.items()
        }

    def state(self) -> dict[str, Any]:
        """Parameters and moments as plain numbers."""
        return {
            name: [value.tolist(), *(m.tolist() for m in self.moments[name])]
            for name, value in self.values.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` gave."""
        with torch.no_grad():
            for name, (value, first, second) in state.items():
                self.values[name].copy_(torch.tensor(value, dtype=torch.float64))
                self.moments[name][0].copy_(torch.tensor(first, dtype=torch.float64))
                self.moments[name][1].copy_(torch.tensor(second, dtype=torch.float64))
