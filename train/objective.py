# SPDX-License-Identifier: Apache-2.0
"""What a training step minimises: labels, smoothed, mixed or taught by the float network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import ranks
from .recipe import OptimiserSection
from .session import Run


@dataclass(frozen=True)
class Batch:
    """One rank's share of a mini-batch.

    Attributes:
        x: inputs.
        targets: what the task's loss compares with, class probabilities on axis 1 or the input.
        soft: the same from the teacher, or None.
    """

    x: Tensor
    targets: Tensor
    soft: Tensor | None


class Objective:
    """Makes mini-batches ready and prices outputs.

    Args:
        run: recipe and layout.
        section: label smoothing (Szegedy et al., CVPR 2016, section 7) and mixup (Zhang et al.,
            ICLR 2018) of this phase.
        teacher: gives soft labels for ``distill`` of the loss; None for none.
        distill: the teacher's part of the loss.
    """

    def __init__(
        self,
        run: Run,
        section: OptimiserSection,
        teacher: nn.Module | None = None,
        distill: float = 0.0,
    ) -> None:
        self.run, self.section = run, section
        self.task = run.task
        self.teacher = teacher if distill > 0 else None
        self.distill = distill

    def batch(self, x: Tensor, y: Tensor) -> Batch:
        """Mix, smooth, share between ranks, ask the teacher."""
        classes, smooth = self.run.data.classes, self.section.label_smoothing
        targets = self.task.targets(x, y, classes)
        if self.section.mixup > 0:
            one = torch.full((), self.section.mixup)
            part = float(torch.distributions.Beta(one, one).sample())
            order = torch.randperm(len(x))
            x = x.lerp(x[order], 1 - part)
            targets = targets.lerp(targets[order], 1 - part)
        if smooth > 0:
            targets = targets * (1 - smooth) + smooth / classes
        # drawn, mixed and shared on the processor: every device sees the same batches
        x = self.run.place(ranks.share(x))
        soft = None
        if self.teacher is not None:
            with torch.no_grad(), self.run.narrow():
                soft = self.task.soft_targets(self.teacher(x).float())
        return Batch(x, ranks.share(targets).to(self.run.device), soft)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """The task's loss, a part of it against the teacher."""
        output = output.float()
        hard = self.task.loss(output, batch.targets)
        if batch.soft is None:
            return hard
        return (1 - self.distill) * hard + self.distill * self.task.loss(output, batch.soft)


class Average:
    """Exponential moving average of a module's parameters, faster in the first steps."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.parameters = dict(module.named_parameters())
        self.values = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """After an optimiser's step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, parameter in self.parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Forget the past: the network has become another one."""
        self.steps = 0
        for name, parameter in self.parameters.items():
            self.values[name].copy_(parameter)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the averages into the module."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.values[name])

    def tensors(self) -> dict[str, Tensor]:
        """State for a checkpoint."""
        return {
            "ema_steps": torch.tensor(self.steps),
            **{f"ema/{name}": value for name, value in self.values.items()},
        }

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave."""
        self.steps = int(tensors["ema_steps"])
        for name, value in self.values.items():
            value.copy_(tensors[f"ema/{name}"])
