# SPDX-License-Identifier: Apache-2.0
"""The two training phases of a run: the float network, then the quantised one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import ranks
from .bits import MAX_BITS
from .calibration import reestimate_batch_norm
from .controller import AdaQAT
from .data import batches
from .devices import set_random_state
from .events import epoch_figures
from .exact_mode import exact
from .module import QuantModule
from .objective import Average, Batch, Objective
from .refine import refine
from .session import RAMP, Progress, Run, cosine, make_optimizer, set_rates
from .trials import judge, origin_of, origin_tensors

FLOAT_FILE, FILE = "float.safetensors", "checkpoint.safetensors"
SETTLING = 8192
"""Training images that re-estimate BatchNorm statistics."""


def float_phase(run: Run, model: nn.Module, resume: bool, *, rewind: bool = True) -> None:
    """Train the float network in place; when resuming, from its last checkpoint on.

    ``rewind`` is off where a later phase has its own checkpoint, and with it its own place in the
    log.
    """
    section, per_epoch = run.recipe.float_, run.per_epoch
    optimizer = make_optimizer(section, [{"params": list(model.parameters())}])
    average = Average(model, section.ema) if section.ema > 0 else None
    progress = Progress()
    random: dict[str, Tensor] = {}
    found = run.restore(FLOAT_FILE, model, optimizer) if resume else None
    if found is not None:
        progress, state, tensors = found
        random = tensors
        if average is not None:
            average.load(tensors)
        if rewind:
            run.rewind_log(state["log_bytes"])
    elif section.start is not None:
        _save_float(run, model, optimizer, progress, average)  # resuming needs no other run's file
    objective = Objective(run, section)
    net = ranks.spread(model)
    while progress.epoch < section.epochs:
        model.train()
        data = run.epoch(run.recipe.seed * 100_003 + progress.epoch, progress.index)
        _go_on(run, progress, random)
        for x, y in data:
            step = progress.epoch * per_epoch + progress.index
            set_rates(
                optimizer, min(1.0, (step + 1) / RAMP) * cosine(step, section.epochs * per_epoch)
            )
            batch = objective.batch(x, y)
            with run.narrow(), ranks.global_statistics(model):
                output = net(batch.x)
            loss = objective.loss(output, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if average is not None:
                average.update()
            progress.total += float(loss.detach())
            progress.index += 1
            if progress.index < per_epoch and run.due(step):
                _save_float(run, model, optimizer, progress, average)
        loss_mean = ranks.mean(progress.total / per_epoch)
        progress.epoch, progress.index, progress.total = progress.epoch + 1, 0, 0.0
        if average is not None and progress.epoch == section.epochs:
            average.apply()
        run.log(
            "float",
            epoch=progress.epoch,
            epochs=section.epochs,
            loss=loss_mean,
            validation=run.score(model.eval(), run.data.validation)[0],
        )
        _save_float(run, model, optimizer, progress, average)


def _save_float(
    run: Run, model: nn.Module, optimizer: Any, progress: Progress, average: Average | None
) -> None:
    extra = {} if average is None else average.tensors()
    run.save(FLOAT_FILE, model, optimizer, "float", progress, extra)


def _go_on(run: Run, progress: Progress, random: dict[str, Tensor]) -> None:
    """In the middle of an epoch, go on with the random numbers of the checkpoint."""
    if progress.index and random:
        set_random_state(random, run.device)


class QuantisedPhase:
    """Search, freeze, train with a fresh cosine, end on exact integers.

    Args:
        run: the run.
        module: calibrated, or as a checkpoint left it.
        controller: moves the widths; None where they are given.
        teacher: the float network.
        found: what `Run.restore` gave, to go on from there.

    Attributes:
        origin: the calibrated network before any quantised training, from which candidates start;
            kept, also in checkpoints, until the search has ended.
    """

    def __init__(
        self,
        run: Run,
        module: QuantModule,
        controller: AdaQAT | None,
        teacher: nn.Module,
        found: tuple[Progress, dict[str, Any], dict[str, Tensor]] | None,
    ) -> None:
        self.run, self.module, self.controller = run, module, controller
        self.section = section = run.recipe.train
        self.optimizer = make_optimizer(
            section,
            [
                {"params": module.network_parameters()},
                {
                    "params": module.quantizer_parameters(),
                    "base": section.range_lr,
                    "weight_decay": 0.0,
                },
            ],
        )
        self.average = Average(module, section.ema) if section.ema > 0 else None
        self.objective = Objective(run, section, teacher, section.distill)
        self.progress = Progress()
        self.random: dict[str, Tensor] = {}
        self.tail = section.epochs - section.exact_epochs
        self.final: dict[str, int] = {}
        self.net = ranks.spread(module)
        self.origin: dict[str, Tensor] = {}
        search = run.recipe.search
        if controller is not None and search.adapt > 0:
            self.origin = origin_of(module, None if found is None else found[2])
            controller.judge = lambda found: refine(
                controller, found, lambda some, times: judge(self, some, times), search.trials
            )
        if found is None:
            self._save()
            return
        run.restore(FILE, module, self.optimizer)
        self.progress, state, tensors = found
        self.random, self.final = tensors, state["final"]
        if self.average is not None:
            self.average.load(tensors)
        if controller is not None:
            controller.load_state(state["controller"])
        run.rewind_log(state["log_bytes"])

    def train(self) -> None:
        """All epochs that are left."""
        run, module, progress = self.run, self.module, self.progress
        while progress.epoch < self.section.epochs:
            in_tail = progress.epoch >= self.tail
            if progress.epoch == self.tail and progress.index == 0:
                self._settle()
            module.stats = "freeze" if in_tail else "update"
            module.train()
            seed = run.recipe.seed * 100_003 + 50_000 + progress.epoch
            data = run.epoch(seed, progress.index)
            _go_on(run, progress, self.random)
            for x, y in data:
                self._step(self.objective.batch(x, y), in_tail)
                step = progress.epoch * run.per_epoch + progress.index - 1
                if progress.index < run.per_epoch and run.due(step):
                    self._save()
            self._end_of_epoch()
        if self.section.exact_epochs == 0:
            self._settle()
        module.eval()

    def _settle(self) -> None:
        """The averaged parameters, and BatchNorm statistics that fit them.

        The images are augmented as in training: the weights have learned with these statistics.
        (Without, padded and cropped CIFAR-10 costs a ResNet-8 four points.)
        """
        if self.average is not None:
            self.average.apply()
        images, labels = self.run.data.train
        few, augment = (images[:SETTLING], labels[:SETTLING]), self.run.recipe.data.augment
        reestimate_batch_norm(
            self.module,
            [
                self.run.place(x)
                for x, _ in batches(few, 256, seed=0, augment=augment)
            ],
        )

    def _step(self, batch: Batch, integers: bool) -> None:
        """One optimiser step; with ``integers`` the forward pass is the integer network's own."""
        run, progress, controller = self.run, self.progress, self.controller
        step = progress.epoch * run.per_epoch + progress.index
        steps = self.section.epochs * run.per_epoch
        searching = controller is not None and not controller.done
        # A fresh cosine after the freeze: widths set at a low rate would not recover.
        rate = 1.0 if searching else cosine(step - progress.frozen_at, steps - progress.frozen_at)
        set_rates(self.optimizer, rate * min(1.0, (step + 1) / RAMP))

        if self.section.progressive > 0 and not searching:
            self._descend(step, integers)
        loss = self.optimise(batch, integers, searching)
        progress.total += loss
        progress.index += 1
        frozen = searching and controller is not None and controller.done
        if frozen:
            progress.frozen_at = step + 1
        if self.average is not None and not integers:
            if frozen or (controller is not None and not controller.done):
                self.average.restart()
            else:
                self.average.update()

    def _descend(self, step: int, arrived: bool) -> None:
        """Progressive widths: frozen ones come down to their values bit by bit."""
        free = [w for w in self.module.widths if not w.fixed and w.kind != "channels"]
        if not self.final:
            self.final = {w.name: w.integer for w in free}
        start = self.progress.frozen_at
        length = self.section.progressive * (self.tail * self.run.per_epoch - start)
        gone = 1.0 if arrived or length <= 0 else (step - start + 1) / length
        cap = MAX_BITS - int(gone * (MAX_BITS - 1))
        for width in free:
            width.n = float(max(self.final[width.name], width.at_least(cap)))

    def optimise(self, batch: Batch, integers: bool = False, search: bool = False) -> float:
        """Forward, backward, controller, optimiser; returns the loss."""
        run, module = self.run, self.module

        def closure() -> tuple[Tensor, Tensor]:
            with run.narrow():
                output = module(batch.x)
            return self.objective.loss(output, batch), output

        with run.narrow():
            codes = exact(module).values(batch.x) if integers else None
            output = self.net(batch.x, codes=codes)
        loss = self.objective.loss(output, batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if search and self.controller is not None:
            self.controller.step(closure, loss=loss, output=output)
        torch.nn.utils.clip_grad_norm_(module.network_parameters(), self.section.clip)
        self.optimizer.step()
        return float(loss.detach())

    def _end_of_epoch(self) -> None:
        progress, controller = self.progress, self.controller
        loss = ranks.mean(progress.total / self.run.per_epoch)
        progress.epoch, progress.index, progress.total = progress.epoch + 1, 0, 0.0
        self.run.log(
            "search" if controller is not None and not controller.done else "train",
            epoch=progress.epoch,
            epochs=self.section.epochs,
            loss=loss,
            **epoch_figures(self.run, self.module, controller),
        )
        self._save()

    def _save(self) -> None:
        controller = self.controller
        extra = {} if self.average is None else self.average.tensors()
        if controller is not None and not controller.done:
            extra = extra | origin_tensors(self.origin)
        self.run.save(
            FILE,
            self.module,
            self.optimizer,
            "train",
            self.progress,
            extra,
            controller=None if controller is None else controller.state(),
            calibrated=self.module.calibrated,
            final=self.final,
        )
