# SPDX-License-Identifier: Apache-2.0
"""Moves the bit-widths during training: probes, hardware term, budget, freeze."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..deploy.errors import UsageError
from .bits import BitWidth, override
from .cost import NetworkCost
from .module import QuantModule
from .pricing import network_cost
from .project import check_budget, solve
from .replay import Replay
from .rule import FREEZES, damage_curve
from .released import PaperSearch
from .search import RepairedSearch, Search, Verdict

if TYPE_CHECKING:
    from ..hw_models import HwModel

Closure = Callable[[], Tensor | tuple[Tensor, Tensor]]
PAPER_STRENGTH = 0.02 * 64
"""The released lambda, 0.02 per unit of N_w*N_a, in units of the all-8 cost (64)."""
GAIN = 0.05
"""Exponent of the budget control: the strength follows (cost / budget) ** GAIN per step."""
AVERAGE_PART = 0.4
"""The last part of the search over which n is averaged before rounding."""


class AdaQAT:
    """Controller of a prepared module's widths.

    Call `step` once per mini-batch after the loss is known and before the optimiser's step::

        output = module(x); loss = criterion(output, y); loss.backward()
        controller.step(lambda: (criterion(o := module(x), y), o), loss=loss, output=output)
        optimizer.step()

    Args:
        module: prepared and calibrated.
        target: cost table (a model, a name) or ``bitops``; default: the one given to `prepare`.
        budget: hard limits by metric (``latency_ms``, ``cycles``, ``instructions``, ``energy_uj``,
            ``flash_kb``); the strength follows from them.
        strength: nats per 1x of the all-8 cost, one number or by metric; instead of a budget.
        mode: ``repaired`` (default) or ``adaqat``, the published rule for comparison.
        steps: training steps planned in all; the search is their first ``search`` part.
        search: part of the steps that searches.
        warm_up: steps before the first probe.
        probes: probes per step (``repaired``), round-robin over the open widths.
        eta: step size; default 0.4 (``repaired``) or 0.1 (``adaqat``).
        smoothing: of the signal (``repaired``).
        signal: ``kl`` or ``loss``; ``adaqat`` always uses the loss.
        freeze: ``upper``, ``lower`` or ``break_even`` (``adaqat``).
        max_crossings: rises tolerated before a width freezes (``adaqat``).
        margin: part of a budget held back where possible: predicted costs are that uncertain.

    Raises:
        UsageError: an unknown option, or a budget that cannot be met.
    """

    def __init__(
        self,
        module: QuantModule,
        *,
        steps: int,
        target: HwModel | str | None = None,
        budget: Mapping[str, float] | None = None,
        strength: float | Mapping[str, float] | None = None,
        mode: str = "repaired",
        search: float = 0.35,
        warm_up: int = 20,
        probes: int = 2,
        eta: float | None = None,
        smoothing: float = 0.8,
        signal: str = "kl",
        freeze: str = "upper",
        max_crossings: int = 10,
        margin: float = 0.02,
    ) -> None:
        for label, value, known in [
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
        if steps < 1:
            raise UsageError(f"steps: {steps} found; at least 1 is needed")
        chosen = target if target is not None else module.target
        self.cost: NetworkCost = network_cost(module, chosen)  # type: ignore[arg-type]
        self.module, self.mode, self.freeze_rule = module, mode, freeze
        self.budget = dict(budget or {})
        self.aim = {metric: limit * (1 - margin) for metric, limit in self.budget.items()}
        self.warm_up = warm_up
        self.signal = "loss" if mode == "adaqat" else signal
        self.search_steps = max(1, int(steps * search))
        self.strength = self._strengths(strength)
        self.reference = {m: self.cost.reference(m) or 1.0 for m in self.strength}
        self.widths = {
            w.name: w
            for w in module.widths
            if not w.fixed and any(self.cost.share(m, w) > 0 for m in self.strength)
        }
        check_budget(self.cost, self.budget, list(self.widths.values()))
        shared = (self.widths, self.cost, self.strength, self.reference)
        self.search: Search = (
            PaperSearch(
                *shared, eta or 0.1, module=module, max_crossings=max_crossings, freeze=freeze
            )
            if mode == "adaqat"
            else RepairedSearch(
                *shared, eta or 0.4, probes=probes, smoothing=smoothing, signal=signal
            )
        )
        self.count = 0
        self.done = not self.widths
        self.smooth_n = {name: w.n for name, w in self.widths.items()}
        self.sum_n = dict.fromkeys(self.widths, 0.0)
        self.averaged = 0
        module.replay = None if self.done else Replay(module.network.records)

    def _strengths(self, strength: float | Mapping[str, float] | None) -> dict[str, float]:
        if self.budget:
            return {m: 1.0 if m == "flash_kb" else 3.0 for m in self.budget}
        if isinstance(strength, Mapping):
            unknown = sorted(set(strength) - set(self.cost.metrics))
            if unknown:
                raise UsageError(
                    f"strength: {', '.join(unknown)} found; {self.cost.name} prices "
                    f"{', '.join(self.cost.metrics)}"
                )
            return dict(strength)
        if strength is None:
            strength = PAPER_STRENGTH if self.mode == "adaqat" else 1.0
        metric = next(m for m in ("bitops", "cycles", "instructions") if m in self.cost.metrics)
        return {metric: float(strength)}

    def loss_term(self) -> Tensor:
        """``sum strength * C(N) / C(all 8)``: the hardware part of the total loss.

        A constant for weights and ranges; its finite difference moves the widths in `step`.
        """
        return torch.tensor(
            sum(s * self.cost.total(m) / self.reference[m] for m, s in self.strength.items())
        )

    def step(
        self, closure: Closure, *, loss: Tensor | None = None, output: Tensor | None = None
    ) -> bool:
        """Probe and move widths; True while the search goes on.

        Args:
            closure: runs the module on the current mini-batch and returns ``loss`` or
                ``(loss, output)``; called without gradients and with untouched BatchNorm
                statistics.
            loss: the loss of this mini-batch, if already known; saves a forward pass.
            output: the module's output for it.
        """
        if self.done:
            return False
        self.count += 1
        if self.count > self.warm_up:
            if loss is None or (self.signal == "kl" and output is None):
                loss, output = self._run(closure, {})
            self.search.update(
                lambda bits: self._run(closure, bits),
                loss.detach(),
                None if output is None else output.detach(),
            )
            self._average()
            self._control()
        if self.module.replay is not None:
            self.module.replay.forget()
        if self.count >= self.search_steps or all(w.frozen for w in self.widths.values()):
            self.finish()
        return not self.done

    def _run(self, closure: Closure, bits: Mapping[BitWidth, int]) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad(), self.module.running(stats="probe"), override(bits):
            result = closure()
        if isinstance(result, tuple):
            return result
        if self.signal == "kl":
            raise UsageError(
                "step: the closure returned one tensor; (loss, output) is needed for "
                "signal='kl'; return both or use signal='loss'"
            )
        return result, None

    def _average(self) -> None:
        late = self.count > self.search_steps * (1 - AVERAGE_PART)
        self.averaged += late
        for name, width in self.widths.items():
            self.smooth_n[name] += 0.1 * (width.n - self.smooth_n[name])
            self.sum_n[name] += width.n * late

    def _control(self) -> None:
        """Multiplicative control of the strengths by the cost of the rounded average widths."""
        now = {w: self._rounded(w, self.smooth_n[name]) for name, w in self.widths.items()}
        for metric, limit in self.aim.items():
            factor = (self.cost.total(metric, now) / limit) ** GAIN
            self.strength[metric] = min(max(self.strength[metric] * factor, 1e-4), 1e4)

    @staticmethod
    def _rounded(width: BitWidth, n: float) -> int:
        return min(max(int(n + 0.5), width.lo), width.hi)

    def finish(self) -> dict[str, int]:
        """Round, project onto the budget with exact costs, take free bits, freeze everything."""
        wanted = {}
        for name, width in self.widths.items():
            if width.frozen or (self.mode == "adaqat" and self.freeze_rule != "break_even"):
                wanted[width] = width.integer
            else:
                n = self.sum_n[name] / self.averaged if self.averaged else width.n
                wanted[width] = self._rounded(width, n)
        final = self._project(wanted) if self.budget else wanted
        for width, bits in final.items():
            width.freeze(bits)
        for width in self.module.widths:
            width.frozen = True
        self.done = True
        self.module.replay = None
        return {w.name: b for w, b in final.items()}

    def _project(self, wanted: Mapping[BitWidth, int]) -> dict[BitWidth, int]:
        """Least damage, at most one bit below what was learned (more only if it must be)."""
        damage = {w: damage_curve(self.search.worth.get(w.name, {})) for w in wanted}
        for limits in (self.aim, self.budget):
            for reach in (1, 2, 8):
                domains = {w: range(max(w.lo, b - reach), w.hi + 1) for w, b in wanted.items()}
                found = solve(self.cost, limits, domains, damage)
                if found is not None:
                    return found
        raise UsageError(
            "budget: no widths meet it any more; widths that were frozen by hand "
            "stand in the way; free them or allow more"
        )

    def verdicts(self) -> list[Verdict]:
        """Why each width is what it is, from its last probe."""
        nothing = (None, None, None)
        return [
            Verdict(name, w.integer, w.n, w.frozen, *self.search.last.get(name, nothing))
            for name, w in self.widths.items()
        ]

    def costs(self) -> dict[str, float]:
        """Cost of the network as it is now, every metric of the target."""
        return {metric: self.cost.total(metric) for metric in self.cost.metrics}

    def state(self) -> dict[str, Any]:
        """Everything but the widths themselves (the module holds those), as plain JSON values."""
        search = self.search
        return {
            "count": self.count,
            "turn": search.turn,
            "done": self.done,
            "strength": dict(self.strength),
            "smooth_n": dict(self.smooth_n),
            "sum_n": dict(self.sum_n),
            "averaged": self.averaged,
            "worth": {n: {str(k): v for k, v in d.items()} for n, d in search.worth.items()},
            "last": {n: list(v) for n, v in search.last.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` gave."""
        search = self.search
        self.count, search.turn, self.done = state["count"], state["turn"], state["done"]
        self.strength.update(state["strength"])
        self.smooth_n, self.sum_n = dict(state["smooth_n"]), dict(state["sum_n"])
        self.averaged = state["averaged"]
        if self.done:
            self.module.replay = None
        search.worth = {n: {int(k): v for k, v in d.items()} for n, d in state["worth"].items()}
        search.last = {n: (v[0], v[1], v[2]) for n, v in state["last"].items()}
