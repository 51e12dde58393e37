# SPDX-License-Identifier: Apache-2.0
"""Moves the bit-widths during training: probes, hardware term, budget, freeze."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..deploy.errors import UsageError
from . import ranks
from .arena import Arena
from .bits import BitWidth, override
from .candidates import (
    SENSITIVITY_STEPS,
    Assignment,
    Judge,
    Sensitivity,
    Trial,
    list_trials,
)
from .controller_state import controller_state, load_controller_state
from .cost import NetworkCost
from .module import QuantModule
from .options import check_options, check_pruning, first_strengths, searched_widths, sort_budget
from .pricing import is_circuit, network_cost
from .project import check_budget
from .proposals import propose
from .relaxed import RelaxedSearch
from .released import PaperSearch
from .replay import Replay
from .search import RepairedSearch, Search, Verdict

if TYPE_CHECKING:
    from ..hw_models import HwModel

Closure = Callable[[], Tensor | tuple[Tensor, Tensor]]
LOOKS = 8
"""Mini-batches on which candidates are compared where nothing else judges them."""
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
            ``flash_kb``, ``ram_kb``, ``gbitops``; FPGA: ``lut``, ``bram``, ``dsp`` at
            ``frames_per_second`` and ``latency_ms``).
        strength: nats per 1x of the all-8 cost, one number or by metric; instead of a budget.
        method: ``adaqat``, or a rival for comparison: ``uniform`` (the widest uniform point),
            ``knapsack`` (sensitivities and an integer program), ``fracbits``, ``softmax``.
        mode: rule of ``adaqat``: ``repaired`` (default), or ``adaqat``, the published one.
        steps: training steps planned in all; the search is their first ``search`` part.
        search: part of the steps that searches.
        warm_up: steps before the first probe.
        probes: probes per step (``repaired``), round-robin over the open widths.
        eta: step size; default 0.4 (``repaired``) or 0.1 (``adaqat``).
        smoothing: of the signal (``repaired``).
        signal: ``kl``, ``squares`` (outputs that are no class scores) or ``loss`` (always that of
            ``adaqat``).
        freeze: ``upper``, ``lower`` or ``break_even`` (``adaqat``).
        max_crossings: rises tolerated before a width freezes (``adaqat``).
        margin: part of a budget held back where possible: predicted costs are that uncertain.
        candidates: compare the result under a budget with rivals, keep the best (``adaqat`` only).

    Attributes:
        judge: prices candidates (`QuantisedPhase` trains each a little, and others like them);
            without one, their loss on the next few mini-batches, probed side by side, decides.
        trials: what was compared.

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
        method: str = "adaqat",
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
        candidates: bool = True,
    ) -> None:
        check_options(method, mode, signal, freeze, budget, strength, steps)
        chosen = target if target is not None else module.target
        self.module, self.method, self.mode, self.freeze_rule = module, method, mode, freeze
        check_pruning(module.channels is not None, method, mode, chosen)
        limits = sort_budget(budget, is_circuit(chosen))
        self.budget, self.ram_kb = limits.steering, limits.ram_kb
        self.cost: NetworkCost = network_cost(
            module, chosen, limits.frames_per_second, limits.latency_ms  # type: ignore[arg-type]
        )
        self.aim = {metric: limit * (1 - margin) for metric, limit in self.budget.items()}
        self.warm_up, self.steps = warm_up, steps
        self.signal = "loss" if mode == "adaqat" else signal
        # uniform widths need no look at the data, sensitivities a few mini-batches
        look = {"uniform": 1, "knapsack": warm_up + SENSITIVITY_STEPS}
        self.search_steps = look.get(method, max(1, int(steps * search)))
        self.strength = first_strengths(self.cost, self.budget, strength, mode)
        self.reference = {m: self.cost.reference(m) or 1.0 for m in self.strength}
        self.widths = searched_widths(module, self.cost, self.strength, method)
        check_budget(self.cost, self.budget, list(self.widths.values()))
        self.arena = Arena(module, self.cost.name)
        if self.ram_kb is not None:
            self.arena.check(self.ram_kb, self.widths.values())
        shared = (self.widths, self.cost, self.strength, self.reference)
        self.search: Search
        if method in ("fracbits", "softmax"):
            self.search = RelaxedSearch(
                *shared, 0.0, method=method, limits=self.aim, steps=self.search_steps
            )
        elif mode == "adaqat":
            self.search = PaperSearch(
                *shared, eta or 0.1, module=module, max_crossings=max_crossings, freeze=freeze
            )
        else:
            self.search = RepairedSearch(
                *shared, eta or 0.4, probes=probes, smoothing=smoothing, signal=signal
            )
        self.sensitivity = Sensitivity()
        self.comparing = candidates and method == "adaqat" and bool(self.budget)
        self.judge: Judge | None = None
        self.trials: list[Trial] = []
        self.pending: dict[str, Assignment] = {}
        self.scores: dict[str, float] = {}
        self.looks = self.count = self.averaged = 0
        self.done = not self.widths
        self.smooth_n = {name: w.n for name, w in self.widths.items()}
        self.sum_n = dict.fromkeys(self.widths, 0.0)
        self._attach()

    def _attach(self) -> None:
        """Let the module help the search as long as it goes on."""
        relaxed = isinstance(self.search, RelaxedSearch)
        self.module.replay = None if self.done or relaxed else Replay(self.module.network.records)
        mixing = relaxed and not self.done
        self.module.mixture = self.search.share if mixing else None  # type: ignore[attr-defined]

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
        if self.pending:
            self._look(closure)
        elif self.count > self.warm_up and self.method != "uniform":
            if loss is None or (self.signal != "loss" and output is None):
                loss, output = self._run(closure, {})
            self._advance(closure, loss.detach(), None if output is None else output.detach())
        if self.module.replay is not None:
            self.module.replay.forget()
        ended = self.count >= self.search_steps or all(w.frozen for w in self.widths.values())
        if ended and not self.pending and not self.done:
            self.finish()
        return not self.done

    def _advance(self, closure: Closure, loss: Tensor, output: Tensor | None) -> None:
        """One step of the search."""
        probe = partial(self._run, closure)
        needed = self.comparing or self.method == "knapsack"
        if needed and self.sensitivity.batches < SENSITIVITY_STEPS:
            change = "squares" if self.signal == "squares" else "kl"
            self.sensitivity.measure(self.widths.values(), probe, (loss, output), change)
        if self.method == "knapsack":
            return
        self.search.update(probe, loss, output)
        if not isinstance(self.search, RelaxedSearch):
            self._average()
            self._control()

    def _run(self, closure: Closure, bits: Mapping[BitWidth, int]) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad(), self.module.running(stats="probe"), override(bits):
            result = closure()
        if isinstance(result, tuple):
            return result
        if self.signal != "loss":
            raise UsageError(
                "step: the closure returned one tensor; (loss, output) is needed for "
                f"signal={self.signal!r}; return both or use signal='loss'"
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
        now = {w: w.nearest(self.smooth_n[name]) for name, w in self.widths.items()}
        for metric, limit in self.aim.items():
            factor = (self.cost.total(metric, now) / limit) ** GAIN
            self.strength[metric] = min(max(self.strength[metric] * factor, 1e-4), 1e4)

    def finish(self) -> dict[str, int]:
        """Round, project onto the budget with exact costs, compare, take free bits, freeze."""
        found = propose(self)
        if len(found) > 1 and self.judge is not None:
            self.scores, best = self.judge(found)
            return self._settle(found, best)
        if len(found) > 1 and self.looks == 0 and 0 < self.count <= self.steps - LOOKS:
            self.pending = found
            self.scores = dict.fromkeys(found, 0.0)
            return {}
        return self._settle(found, next(iter(found)))

    def in_arena(self, bits: Assignment) -> bool:
        """Whether buffers and scratch stay within ``ram_kb``."""
        return self.ram_kb is None or self.arena.kilobytes(bits) <= self.ram_kb

    def _look(self, closure: Closure) -> None:
        """Compare candidates on one more mini-batch."""
        for name, bits in self.pending.items():
            self.scores[name] += ranks.mean(float(self._run(closure, bits)[0])) / LOOKS
        self.looks += 1
        if self.looks == LOOKS:
            found, self.pending = self.pending, {}
            self._settle(found, min(found, key=self.scores.__getitem__))

    def _settle(self, found: Mapping[str, Assignment], best: str) -> dict[str, int]:
        """Take the best candidate."""
        self.trials = list_trials(self.cost, found, self.scores, best)
        for width, bits in found[best].items():
            width.freeze(bits)
        for width in self.module.widths:
            width.frozen = True
        self.done = True
        self._attach()
        return {w.name: b for w, b in found[best].items()}

    def verdicts(self) -> list[Verdict]:
        """Why each width is what it is, from its last probe."""
        nothing = (None, None, None)
        return [
            Verdict(name, w.integer, w.n, w.frozen, *self.search.last.get(name, nothing))
            for name, w in self.widths.items()
        ]

    def costs(self) -> dict[str, float]:
        """Cost of the network as it is now, every metric of the target."""
        return {metric: self.cost.total(metric) for metric in self.cost.limited}

    def state(self) -> dict[str, Any]:
        """Everything but the widths themselves (the module holds those), as plain JSON values."""
        return controller_state(self)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` gave."""
        load_controller_state(self, state)
        self._attach()
