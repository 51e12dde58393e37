# SPDX-License-Identifier: Apache-2.0
"""A whole run from a recipe: float network, calibration, width search, quantised training, exact."""

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

from .calibrate import calibrate, reestimate_batch_norm
from .checkpoint import load_checkpoint, save_checkpoint
from .controller import AdaQAT
from .data import Data, Pair, batches, load_data
from .exact import ExactModule, exact
from .models import build_model
from .module import QuantModule
from .prepare import prepare
from .recipe import Recipe
from .result import RunResult, accuracy, describe

Listener = Callable[[Mapping[str, Any]], None]
RAMP = 20
"""Steps over which the learning rate rises."""


@dataclass
class _Run:
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


def fit(recipe: Recipe | Path | str, out: Path | None = None, *, data_root: Path | None = None,
        resume: bool = False, listener: Listener | None = None) -> RunResult:
    """Run a recipe.

    Args:
        recipe: the recipe, or the path of its TOML file.
        out: folder for recipe.toml, log.jsonl, checkpoints and result.json; None writes nothing.
        data_root: folder of the image data sets.
        resume: go on from the checkpoint in ``out``; the run ends as if never interrupted.
        listener: called with every event (phase, epoch, figures).

    Returns:
        The trained prepared module, an example input and the figures of result.json. The accuracy
        called ``integer`` is that of the exact integer network on the test split.

    Raises:
        UsageError: a bad recipe, data folder, target or budget (before any training).
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(Path(recipe))
    torch.set_num_threads(recipe.threads)
    data = load_data(recipe.data.name, data_root, seed=recipe.seed,
                     validation=recipe.data.validation)
    if recipe.data.limit is not None:
        images, labels = data.train
        data = Data(data.name, data.classes, (images[:recipe.data.limit],
                    labels[:recipe.data.limit]), data.validation, data.test)
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model, data.channels, data.classes)
    example = data.test[0][:8].clone()
    _refuse_early(recipe, model, data)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        if not resume:
            (out / "log.jsonl").write_text("", encoding="utf-8")
    run = _Run(recipe, data, out, listener)
    _float_phase(run, model, resume)
    float_test = accuracy(model.eval(), data.test)
    run.log("float", test=float_test)
    module, controller = _prepared(run, model)
    _quantised_phase(run, module, controller, model, resume)
    figures = describe(recipe, data, module, controller, float_test,
                       time.monotonic() - run.started)
    if out is not None:
        text = json.dumps(figures, indent=2) + "\n"
        (out / "result.json").write_text(text, encoding="utf-8")
    run.log("done", **{k: figures[k] for k in ("accuracy", "seconds")})
    return RunResult(module, example, figures, controller)


def _refuse_early(recipe: Recipe, model: nn.Module, data: Data) -> None:
    """Prepare an untrained copy, so that a bad budget or network fails in the first second."""
    training = model.training
    module = _prepare(recipe, model.eval(), data)
    calibrate(module, [data.train[0][:64]])
    _controller(recipe, module, 100)
    model.train(training)


def _prepare(recipe: Recipe, model: nn.Module, data: Data) -> QuantModule:
    options = recipe.quant.model_dump()
    for key in ("first_last_bits", "join_bits"):
        options[key] = options[key] or None
    return prepare(model, data.train[0][:2], target=recipe.search.target, **options)


def _controller(recipe: Recipe, module: QuantModule, steps: int) -> AdaQAT | None:
    search = recipe.search
    if not search.budget and search.strength == 0:
        return None
    return AdaQAT(module, steps=steps, target=search.target, budget=search.budget or None,
                  strength=search.strength, mode=search.mode, search=search.part,
                  warm_up=search.warm_up, probes=search.probes, eta=search.eta,
                  smoothing=search.smoothing, signal=search.signal, freeze=search.freeze,
                  max_crossings=search.max_crossings)


def _prepared(run: _Run, model: nn.Module) -> tuple[QuantModule, AdaQAT | None]:
    recipe = run.recipe
    module = _prepare(recipe, model.eval(), run.data)
    sample = run.data.train[0][:recipe.train.calibration]
    calibrate(module, list(sample.split(128)))
    return module, _controller(recipe, module, recipe.train.epochs * _steps(run))


def _steps(run: _Run) -> int:
    count = len(run.data.train[0])
    return max(1, count // min(run.recipe.data.batch, count))


def _epoch(run: _Run, seed: int) -> Any:
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


def _float_phase(run: _Run, model: nn.Module, resume: bool) -> None:
    section, saved = run.recipe.float_, run.file("float.safetensors")
    if resume and saved is not None and saved.exists():
        load_checkpoint(saved, model)
        return
    optimizer = _optimizer(section.optimizer, [
        {"params": list(model.parameters()), "lr": section.lr, "base": section.lr,
         "weight_decay": section.weight_decay}])
    steps, step = section.epochs * _steps(run), 0
    for epoch in range(section.epochs):
        model.train()
        total = 0.0
        for x, y in _epoch(run, run.recipe.seed * 100_003 + epoch):
            _set_rates(optimizer, min(1.0, (step + 1) / RAMP) * _cosine(step, steps))
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
            step += 1
        run.log("float", epoch=epoch + 1, epochs=section.epochs, loss=total / _steps(run),
                validation=accuracy(model.eval(), run.data.validation))
    if saved is not None:
        save_checkpoint(saved, model, {"phase": "float"})


def _quantised_phase(run: _Run, module: QuantModule, controller: AdaQAT | None,
                     teacher: nn.Module, resume: bool) -> None:
    section, per_epoch = run.recipe.train, _steps(run)
    optimizer = _optimizer(section.optimizer, [
        {"params": module.network_parameters(), "lr": section.lr, "base": section.lr,
         "weight_decay": section.weight_decay},
        {"params": module.quantizer_parameters(), "lr": section.range_lr,
         "base": section.range_lr, "weight_decay": 0.0}])
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
        run.log("search" if controller is not None and not controller.done else "train",
                epoch=epoch + 1, epochs=section.epochs, loss=total / per_epoch,
                validation=accuracy(module.eval(), run.data.validation),
                widths={w.name: round(w.n, 3) for w in module.widths if not w.fixed},
                costs={} if controller is None else controller.costs(),
                strength={} if controller is None else dict(controller.strength))
        if saved is not None:
            save_checkpoint(saved, module, {
                "phase": "train", "epoch": epoch + 1, "frozen_at": frozen_at,
                "controller": None if controller is None else controller.state()}, optimizer)
    if section.exact_epochs == 0:
        reestimate_batch_norm(module, _statistics(run.data.train))
    module.eval()


def _statistics(pair: Pair) -> list[Tensor]:
    return [x for x, _ in batches((pair[0][:8192], pair[1][:8192]), 256, seed=0)]


def _step(run: _Run, module: QuantModule, controller: AdaQAT | None, teacher: nn.Module,
          optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, integers: bool) -> float:
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
    loss.backward()
    if controller is not None:
        controller.step(closure, loss=loss, output=output)
    torch.nn.utils.clip_grad_norm_(module.network_parameters(), section.clip)
    optimizer.step()
    return float(loss.detach())
