# SPDX-License-Identifier: Apache-2.0
"""Why is this layer 8 bits: every width of a finished network against one step less and one more.

The search's own probes end where its result is compared with others, so they do not say why the
widths that were kept are what they are. This asks the trained network itself: what taking the last
bit of one width away would cost in loss and save on the target, all others as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import ranks
from .bits import BitWidth, override
from .data import Pair, batches
from .search import bit_worth
from .tasks import Task

if TYPE_CHECKING:
    from .controller import AdaQAT
    from .module import QuantModule

SAMPLES = 1024
"""Samples of the validation split that are looked at."""


@dataclass(frozen=True)
class Reason:
    """What speaks for a width's value.

    Attributes:
        name: the width.
        bits: its value; of channels, the eighths that are kept.
        fixed: why it was never searched; empty where it was.
        decided_by: the candidate that was kept; empty without candidates.
        fewer: the nearest value below that saves something, None where there is none.
        rise: loss that this would add, on validation samples, in nats (or the task's unit).
        change: the same as divergence of the outputs, never negative and far less noisy.
        saved: what it would save, by metric that steers the search.
        price: the saving in the loss's unit: strength times cost over that of all widths at 8.
        more: the next value above, None at the largest.
        breaks: limits of the budget that this would break.
    """

    name: str
    bits: int
    fixed: str = ""
    decided_by: str = ""
    fewer: int | None = None
    rise: float | None = None
    change: float | None = None
    saved: Mapping[str, float] = field(default_factory=dict)
    price: float | None = None
    more: int | None = None
    breaks: tuple[str, ...] = ()

    def why(self) -> str:
        """The same as a sentence."""
        if self.fixed:
            return f"not searched: {self.fixed}"
        parts = []
        unit = "eighths of the channels" if self.name.startswith("c:") else "bits"
        if self.fewer is None:
            parts.append(f"no fewer {unit} are allowed or would save anything")
        elif self.change is not None and self.price is not None:
            saved = ", ".join(f"{v:.3g} {m}" for m, v in self.saved.items() if v)
            relation = "more" if self.change > self.price else "less"
            parts.append(
                f"{self.fewer} {unit} would change the outputs by {self.change:.2g} (loss "
                f"{self.rise:+.2g}), {relation} than the {self.price:.2g} that {saved} weighs"
            )
        if self.more is None:
            parts.append("no more are allowed")
        elif self.breaks:
            parts.append(f"{self.more} would break {' and '.join(self.breaks)}")
        if self.decided_by:
            parts.append(f"kept with candidate {self.decided_by!r}")
        return "; ".join(parts)


@torch.no_grad()
def reasons(module: QuantModule, controller: AdaQAT, pair: Pair, task: Task) -> list[Reason]:
    """A reason for every width of a trained network, its running statistics in force.

    Args:
        module: trained; its mode is put back.
        controller: after its search; prices the steps.
        pair: validation samples.
        task: their loss.
    """
    kept = next((t.name for t in controller.trials if t.chosen), "")
    decided = kept if len(controller.trials) > 1 else ""
    searched = set(controller.widths.values())
    steps = {w: b for w in searched if (b := _cheaper(controller, w)) is not None}
    before = module.training
    module.eval()
    try:
        seen = _probe(module, steps, (pair[0][:SAMPLES], pair[1][:SAMPLES]), task)
    finally:
        module.train(before)
    return [_reason(module, controller, w, steps, seen, decided) for w in module.widths]


def _cheaper(controller: AdaQAT, width: BitWidth) -> int | None:
    """The largest value below the width's that costs less; a table has plateaus."""
    cost = controller.cost
    for bits in sorted((b for b in width.allowed if b < width.integer), reverse=True):
        if any(cost.total(m, {width: bits}) < cost.total(m) for m in controller.strength):
            return bits
    return None


def _probe(
    module: QuantModule, steps: Mapping[BitWidth, int], pair: Pair, task: Task
) -> dict[BitWidth, tuple[float, float]]:
    """(rise of the loss, change of the outputs) of every step, averaged over samples."""
    seen = {width: [0.0, 0.0] for width in steps}
    count = 0
    for x, y in batches(pair, 256):
        here = _run(module, x, y, task)
        for width, bits in steps.items():
            with override({width: bits}):
                there = _run(module, x, y, task)
            seen[width][0] += float(there[0] - here[0]) * len(x)
            seen[width][1] += bit_worth(here, there, task.signal) * len(x)
        count += len(x)
    return {w: (ranks.mean(a / count), ranks.mean(b / count)) for w, (a, b) in seen.items()}


def _run(module: QuantModule, x: Tensor, y: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    output = module(x).float()
    total, terms = task.total(output, x, y)
    return total / terms, output


def _reason(
    module: QuantModule,
    controller: AdaQAT,
    width: BitWidth,
    steps: Mapping[BitWidth, int],
    seen: Mapping[BitWidth, tuple[float, float]],
    decided: str,
) -> Reason:
    bits, cost = width.integer, controller.cost
    if width.name not in controller.widths:
        known = module.reasons.get(width.name, "") if width.fixed else ""
        return Reason(width.name, bits, known or "no metric that steers the search depends on it")
    above = width.above(bits)
    breaks = tuple(
        f"{metric} = {limit:g}"
        for metric, limit in controller.budget.items()
        if above != bits and cost.total(metric, {width: above}) > limit
    )
    more = None if above == bits else above
    if width not in steps:
        return Reason(width.name, bits, "", decided, more=more, breaks=breaks)
    fewer = steps[width]
    saved = {m: cost.total(m) - cost.total(m, {width: fewer}) for m in controller.strength}
    price = sum(s * saved[m] / controller.reference[m] for m, s in controller.strength.items())
    rise, change = seen[width]
    return Reason(
        width.name, bits, "", decided, fewer, rise, change, saved, price, more, breaks
    )  # fmt: skip
