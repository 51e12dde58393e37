# SPDX-License-Identifier: Apache-2.0
"""Training aids of the recipe, each on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adaqat.train import Recipe, calibrate, fit, prepare, reestimate_batch_norm
from adaqat.train.data import Data, batches, load_data
from adaqat.train.devices import breaks_channels_last
from adaqat.train.models import build_model
from adaqat.train.objective import Average, Objective
from adaqat.train.phases import QuantisedPhase
from adaqat.train.session import Run

CLASSES = 4


def make_run(images: Tensor, **sections: Any) -> Run:
    labels = torch.arange(len(images)) % CLASSES
    pair = (images, labels)
    recipe = Recipe.parse({"data": {"batch": 8}, "save": {"minutes": 0}, **sections})
    return Run(recipe, Data("toy", CLASSES, pair, pair, pair), None, None)


def test_label_smoothing(images: Tensor) -> None:
    run = make_run(images, train={"label_smoothing": 0.2})
    batch = Objective(run, run.recipe.train).batch(images[:4], torch.tensor([0, 1, 2, 3]))
    assert torch.allclose(batch.targets, torch.eye(4) * 0.8 + 0.05)
    output = torch.randn(4, CLASSES)
    wanted = nn.functional.cross_entropy(output, torch.arange(4), label_smoothing=0.2)
    assert torch.allclose(Objective(run, run.recipe.train).loss(output, batch), wanted)


def test_mixup_mixes_images_and_labels_alike(images: Tensor) -> None:
    run = make_run(images, train={"mixup": 1.0})
    torch.manual_seed(3)
    x = torch.eye(4)[:, :, None, None].expand(4, 4, 2, 2).contiguous()
    batch = Objective(run, run.recipe.train).batch(x, torch.arange(4))
    assert torch.allclose(batch.targets.sum(1), torch.ones(4))
    assert torch.allclose(batch.x[:, :, 0, 0], batch.targets), "image i is the unit vector i"
    assert not torch.equal(batch.targets, torch.eye(4))


def test_the_teacher_has_its_part(images: Tensor) -> None:
    run = make_run(images)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), CLASSES))
    objective = Objective(run, run.recipe.train, teacher, 1.0)
    batch = objective.batch(images[:4], torch.arange(4))
    assert batch.soft is not None
    exact_copy = objective.loss(teacher(batch.x), batch)
    assert float(exact_copy) < float(objective.loss(-teacher(batch.x), batch))
    assert (
        Objective(run, run.recipe.train, teacher, 0.0).batch(images[:4], torch.arange(4)).soft
        is None
    )


def test_averages_follow_and_return() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = Average(net, 0.5)
    for value in (1.0, 2.0, 3.0):
        net.weight.data.fill_(value)
        average.update()
    first = 1.0 + (float(average.values["weight"]) - 1.0)
    assert 1.5 < first < 3.0
    other = Average(nn.Linear(1, 1, bias=False), 0.5)
    other.load(average.tensors())
    assert other.steps == 3 and torch.equal(other.values["weight"], average.values["weight"])
    average.apply()
    assert float(net.weight) == pytest.approx(first)
    net.weight.data.fill_(9.0)
    average.restart()
    assert average.steps == 0 and float(average.values["weight"]) == 9.0


def quantised(run: Run, model: nn.Module, images: Tensor) -> QuantisedPhase:
    module = prepare(
        model, images, weight_bits=run.recipe.quant.weight_bits, act_bits=run.recipe.quant.act_bits
    )
    calibrate(module, [images])
    return QuantisedPhase(run, module, None, model, None)


def test_progressive_widths_come_down_bit_by_bit(residual: Any, images: Tensor) -> None:
    run = make_run(
        images,
        quant={"weight_bits": 3, "act_bits": 4},
        train={"epochs": 5, "exact_epochs": 1, "progressive": 0.6},
    )
    phase = quantised(run, residual(), images)
    width = next(w for w in phase.module.widths if w.name == "w:conv1")
    width.hi, width.allowed = 8, tuple(range(2, 9))
    seen = []
    original = phase.optimise

    def optimise(*args: Any) -> float:
        seen.append(width.integer)
        return original(*args)

    phase.optimise = optimise  # type: ignore[method-assign]
    phase.train()
    assert seen[0] >= 7 and seen == sorted(seen, reverse=True) and len(set(seen)) >= 4
    assert seen[8] == 3 == seen[-1], "at its value after 0.6 of the 12 steps before the tail"


def test_bfloat16_and_layout_train_the_same_network(residual: Any, images: Tensor) -> None:
    assert breaks_channels_last(residual()), "of 6 channels: it would end the process"
    torch.manual_seed(0)
    model = build_model("digits_resnet", 2, CLASSES)
    assert not breaks_channels_last(model)
    losses = {}
    for bf16 in (False, True):
        torch.manual_seed(0)
        run = make_run(images, bf16=bf16, channels_last=True)
        phase = quantised(run, model, images)
        batch = phase.objective.batch(images[:8], torch.arange(8) % CLASSES)
        assert batch.x.is_contiguous(memory_format=torch.channels_last)
        phase.module.train()
        losses[bf16] = phase.optimise(batch)
        grads = [p.grad for p in phase.module.network_parameters() if p.grad is not None]
        assert grads and all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in grads)
        phase.module.eval()
        assert phase.module(images).dtype == torch.float32
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.02)


def test_batch_norm_is_settled_on_images_augmented_as_in_training() -> None:
    pytest.importorskip("sklearn")
    values: dict[str, Any] = {
        "data": {"limit": 256, "batch": 64, "augment": "shift"},
        "float": {"epochs": 1},
        "search": {"strength": 0.0},
        "train": {"epochs": 1, "exact_epochs": 0, "calibration": 64},
    }
    module = fit(Recipe.parse(values)).module
    data = load_data("digits", None, seed=0, validation=0.1)
    pair = (data.train[0][:256], data.train[1][:256])
    found = {k: v.clone() for k, v in module.state_dict().items() if "running" in k}
    apart = {}
    for augment in ("shift", "none"):
        reestimate_batch_norm(module, [x for x, _ in batches(pair, 256, seed=0, augment=augment)])
        now = module.state_dict()
        apart[augment] = max(float((now[k] - v).abs().max()) for k, v in found.items())
    assert apart["shift"] < 1e-4 < 1e-2 < apart["none"]
