# SPDX-License-Identifier: Apache-2.0
"""The two training phases of a run: the float network, then the quantised one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .calibration import reestimate_batch_norm
from .checkpoint import load_checkpoint, save_checkpoint
from .controller import AdaQAT
from .data import Data, Pair, batches
from .exact_mode import ExactModule, exact
from .module import QuantModule
from .recipe import Recipe
from .result import accuracy

Listener = Callable[[Mapping[str, Any]], None]
RAMP = 20
"""Steps over which the learning rate rises."""


@dataclass
class Run:
    """What the phases share."""

    recipe: Recipe
    data: Data
    out: Path | None
    listener: Listener | None
    started: float = field(default_factory=time.monotonic)

    def log(self, phase: str, **values: Any) -> None:
        """One event: to the listener and, as a line of JSON, to log.jsonl."""
        event = {"phase": phase, **values}
        if self.out is not None:
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        if self.listener is not None:
            self.listener(event)

    def file(self, name: str) -> Path | None:
        """A path in the run's folder."""
        return None if self.out is None else self.out / name


def steps_per_epoch(run: Run) -> int:
    """Full mini-batches in the training split."""
    count = len(run.data.train[0])
    return max(1, count // min(run.recipe.data.batch, count))


def _epoch(run: Run, seed: int) -> Any:
    """Shuffled batches; every epoch has its own seed, so a resumed run sees the same ones."""
    torch.manual_seed(seed)
    section = run.recipe.data
    return batches(run.data.train, section.batch, seed=seed, augment=section.augment)


def _optimizer(kind: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    return torch.optim.Adam(groups)


def _set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))


def float_phase(run: Run, model: nn.Module, resume: bool) -> None:
    """Train the float network in place; when resuming, from the last whole epoch on."""
    section, saved = run.recipe.float_, run.file("float.safetensors")
    layout = torch.channels_last if run.recipe.channels_last else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = _optimizer(
        section.optimizer,
        [
            {
                "params": list(model.parameters()),
                "lr": section.lr,
                "base": section.lr,
                "weight_decay": section.weight_decay,
            }
        ],
    )
    first = 0
    if resume and saved is not None and saved.exists():
        first = int(load_checkpoint(saved, model, optimizer).get("epoch", section.epochs))
    per_epoch = steps_per_epoch(run)
    steps, step = section.epochs * per_epoch, first * per_epoch
    for epoch in range(first, section.epochs):
        model.train()
        total = 0.0
        for x, y in _epoch(run, run.recipe.seed * 100_003 + epoch):
            _set_rates(optimizer, min(1.0, (step + 1) / RAMP) * _cosine(step, steps))
            loss = F.cross_entropy(model(x.contiguous(memory_format=layout)), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach())
            step += 1
        run.log(
            "float",
            epoch=epoch + 1,
            epochs=section.epochs,
            loss=total / per_epoch,
            validation=accuracy(model.eval(), run.data.validation),
        )
        if saved is not None:
            save_checkpoint(saved, model, {"phase": "float", "epoch": epoch + 1}, optimizer)


def quantised_phase(
    run: Run, module: QuantModule, controller: AdaQAT | None, teacher: nn.Module, resume: bool
) -> None:
    """Search, freeze, train with a fresh cosine, end on exact integers; a checkpoint an epoch."""
    section, per_epoch = run.recipe.train, steps_per_epoch(run)
    optimizer = _optimizer(
        section.optimizer,
        [
            {
                "params": module.network_parameters(),
                "lr": section.lr,
                "base": section.lr,
                "weight_decay": section.weight_decay,
            },
            {
                "params": module.quantizer_parameters(),
                "lr": section.range_lr,
                "base": section.range_lr,
                "weight_decay": 0.0,
            },
        ],
    )
    saved, first, frozen_at = run.file("checkpoint.safetensors"), 0, 0
    if resume and saved is not None and saved.exists():
        state = load_checkpoint(saved, module, optimizer)
        first, frozen_at = state["epoch"], state["frozen_at"]
        if controller is not None:
            controller.load_state(state["controller"])
    steps = section.epochs * per_epoch
    tail = section.epochs - section.exact_epochs
    for epoch in range(first, section.epochs):
        if epoch == tail:
            reestimate_batch_norm(module, _statistics(run.data.train))
        module.stats = "freeze" if epoch >= tail else "update"
        module.train()
        total = 0.0
        for i, (x, y) in enumerate(_epoch(run, run.recipe.seed * 100_003 + 50_000 + epoch)):
            step = epoch * per_epoch + i
            searching = controller is not None and not controller.done
            # A fresh cosine after the freeze: widths set at a low rate would not recover.
            rate = 1.0 if searching else _cosine(step - frozen_at, steps - frozen_at)
            _set_rates(optimizer, rate * min(1.0, (step + 1) / RAMP))
            loss = _step(run, module, controller, teacher, optimizer, x, y, epoch >= tail)
            total += loss
            if searching and controller is not None and controller.done:
                frozen_at = step + 1
        run.log(
            "search" if controller is not None and not controller.done else "train",
            epoch=epoch + 1,
            epochs=section.epochs,
            loss=total / per_epoch,
            validation=accuracy(module.eval(), run.data.validation),
            widths={w.name: round(w.n, 3) for w in module.widths if not w.fixed},
            costs={} if controller is None else controller.costs(),
            strength={} if controller is None else dict(controller.strength),
        )
        if saved is not None:
            save_checkpoint(
                saved,
                module,
                {
                    "phase": "train",
                    "epoch": epoch + 1,
                    "frozen_at": frozen_at,
                    "controller": None if controller is None else controller.state(),
                },
                optimizer,
            )
    if section.exact_epochs == 0:
        reestimate_batch_norm(module, _statistics(run.data.train))
    module.eval()


def _statistics(pair: Pair) -> list[Tensor]:
    return [x for x, _ in batches((pair[0][:8192], pair[1][:8192]), 256, seed=0)]


def _step(
    run: Run,
    module: QuantModule,
    controller: AdaQAT | None,
    teacher: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    integers: bool,
) -> float:
    """One optimiser step; with ``integers`` the forward pass is the integer network's own."""
    section = run.recipe.train
    soft = None
    if section.distill > 0:
        with torch.no_grad():
            soft = teacher(x).softmax(1)

    def criterion(output: Tensor) -> Tensor:
        hard = F.cross_entropy(output, y)
        if soft is None:
            return hard
        return (1 - section.distill) * hard + section.distill * F.cross_entropy(output, soft)

    def closure() -> tuple[Tensor, Tensor]:
        output = module(x)
        return criterion(output), output

    integer: ExactModule | None = exact(module) if integers else None
    output = module(x, codes=None if integer is None else integer.values(x))
    loss = criterion(output)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if controller is not None:
        controller.step(closure, loss=loss, output=output)
    torch.nn.utils.clip_grad_norm_(module.network_parameters(), section.clip)
    optimizer.step()
    return float(loss.detach())
