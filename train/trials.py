# SPDX-License-Identifier: Apache-2.0
"""Judges candidate widths: trains each for a short while from the same state, then validates it.

All candidates see the same mini-batches and the same falling learning rate, and start from the
calibrated network before any quantised training: the network at the end of the search has trained
at the search's own widths, and favours them by more than good widths differ. The score is the
task's loss on the validation split, never the test split; without a validation split, on the
first training images.
Everything is put back afterwards: a run is the same whether candidates were judged or given.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import ranks
from .candidates import Assignment
from .data import batches
from .devices import random_state, set_random_state
from .session import cosine, set_rates

if TYPE_CHECKING:
    from .phases import QuantisedPhase

ORIGIN = "origin/"
"""Prefix of the tensors in a checkpoint that are the state candidates start from."""
VALIDATION = 4096
"""Images that judge, at most."""


def origin_of(module: nn.Module, saved: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """The state candidates start from: the module's own, or what a checkpoint holds."""
    if saved is None:
        return {key: value.detach().clone() for key, value in module.state_dict().items()}
    return {k.removeprefix(ORIGIN): v for k, v in saved.items() if k.startswith(ORIGIN)}


def origin_tensors(origin: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same as a checkpoint holds it."""
    return {ORIGIN + key: value for key, value in origin.items()}


def judge(
    phase: QuantisedPhase, candidates: Mapping[str, Assignment], times: int = 1
) -> dict[str, float]:
    """Loss of every candidate after ``times`` times ``search.adapt`` steps."""
    module, optimizer = phase.module, phase.optimizer
    before = {key: value.clone() for key, value in module.state_dict().items()}
    moments = copy.deepcopy(optimizer.state_dict())
    random = random_state(phase.run.device)
    gradients = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    replay, module.replay = module.replay, None
    scores = {}
    for name, bits in candidates.items():
        module.load_state_dict(phase.origin)
        optimizer.load_state_dict({"state": {}, "param_groups": moments["param_groups"]})
        for width, value in bits.items():
            width.n = float(value)
        _adapt(phase, times * phase.run.recipe.search.adapt)
        scores[name] = _validate(phase)
        set_random_state(random, phase.run.device)
    module.load_state_dict(before)
    optimizer.load_state_dict(moments)
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        parameter.grad = gradient
    module.replay = replay
    return scores


def _adapt(phase: QuantisedPhase, steps: int) -> None:
    """A short training with a schedule of its own."""
    run, done = phase.run, 0
    while done < steps:
        for x, y in run.epoch(run.recipe.seed * 100_003 + 90_000 + done):
            set_rates(phase.optimizer, cosine(done, steps))
            phase.optimise(phase.objective.batch(x, y))
            done += 1
            if done == steps:
                break


@torch.no_grad()
def _validate(phase: QuantisedPhase) -> float:
    """Mean loss with each batch's own BatchNorm statistics (the running ones lag)."""
    run = phase.run
    data, task = run.data, run.task
    images, labels = data.validation if len(data.validation[0]) else data.train
    total, count = 0.0, 0
    with phase.module.running(stats="probe"):
        phase.module.train()
        for x, y in batches((images[:VALIDATION], labels[:VALIDATION]), 256):
            count_all = len(x) // ranks.size() * ranks.size()
            x, y = x[:count_all], y[:count_all]
            if len(x) > ranks.size():
                mine, labels = ranks.share(x).to(run.device), ranks.share(y).to(run.device)
                loss, terms = task.total(phase.module(mine).float(), mine, labels)
                total += ranks.mean(float(loss)) * ranks.size()
                count += terms * ranks.size()
    return total / max(count, 1)
