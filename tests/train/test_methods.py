# SPDX-License-Identifier: Apache-2.0
"""Rival methods and candidates: each meets the budget, each is compared, the best is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UsageError
from adaqat.train import AdaQAT, QuantModule, calibrate, prepare
from adaqat.train.bits import BitWidth
from adaqat.train.candidates import Assignment, Sensitivity, fill, uniform_points
from adaqat.train.cost import NetworkCost, Term
from adaqat.train.options import METHODS

Make = Callable[[], nn.Module]
LABELS = torch.arange(24) % 4


@pytest.fixture
def module(residual: Make, images: Tensor) -> QuantModule:
    prepared = prepare(residual(), images)
    calibrate(prepared, [images])
    return prepared.train()


def train(module: QuantModule, controller: AdaQAT, images: Tensor, steps: int) -> list[float]:
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    losses = []

    def closure() -> tuple[Tensor, Tensor]:
        output = module(images)
        return F.cross_entropy(output, LABELS), output

    for _ in range(steps):
        loss, output = closure()
        optimizer.zero_grad()
        loss.backward()
        controller.step(closure, loss=loss, output=output)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_every_budget(
    module: QuantModule, images: Tensor, target: Any, method: str
) -> None:
    start = AdaQAT(module, steps=1, target=target, strength=1.0).costs()
    budget = {m: 0.85 * start[m] for m in ("cycles", "flash_kb")}
    controller = AdaQAT(
        module, steps=60, target=target, budget=budget, method=method, warm_up=1, search=0.5
    )
    train(module, controller, images, 45)
    assert controller.done and all(w.frozen for w in module.widths)
    assert all(controller.costs()[m] <= limit for m, limit in budget.items())
    assert module.mixture is None and module.replay is None
    assert [t.chosen for t in controller.trials].count(True) == 1
    if method == "uniform":
        kinds = {(w.kind, w.integer) for w in controller.widths.values()}
        assert len(kinds) == 2, "one width for weights, one for activations"


def test_candidates_are_compared_and_the_best_is_kept(
    module: QuantModule, images: Tensor, target: Any
) -> None:
    controller = AdaQAT(
        module, steps=40, target=target, budget={"flash_kb": 2.1}, warm_up=0, search=0.5
    )
    seen: dict[str, Assignment] = {}

    def judge(found: dict[str, Assignment]) -> tuple[dict[str, float], str]:
        seen.update(found)
        scores = {name: float(not name.startswith("uniform")) for name in found}
        return scores, min(scores, key=scores.__getitem__)

    controller.judge = judge
    train(module, controller, images, 25)
    assert {"adaqat"} < set(seen) and any(name.startswith("uniform") for name in seen)
    chosen = next(trial for trial in controller.trials if trial.chosen)
    assert chosen.name.startswith("uniform")
    assert chosen.bits == {w.name: w.integer for w in controller.widths.values()}
    assert {t.name for t in controller.trials} == set(seen)
    assert all(t.costs["flash_kb"] <= 2.1 for t in controller.trials)


def test_without_a_judge_candidates_are_probed(
    module: QuantModule, images: Tensor, target: Any
) -> None:
    controller = AdaQAT(
        module, steps=40, target=target, budget={"flash_kb": 2.1}, warm_up=0, search=0.25
    )
    train(module, controller, images, 10)
    assert controller.pending and not controller.done
    state = controller.state()
    other = AdaQAT(
        module, steps=40, target=target, budget={"flash_kb": 2.1}, warm_up=0, search=0.25
    )
    other.load_state(state)
    assert other.state() == state
    train(module, controller, images, 8)
    assert controller.done
    scores = {t.name: t.score for t in controller.trials}
    best = next(t.name for t in controller.trials if t.chosen)
    assert scores[best] == min(s for s in scores.values() if s is not None)


def cliff(*, free: bool) -> tuple[NetworkCost, BitWidth, BitWidth]:
    w, a = BitWidth("w", "weight", 8), BitWidth("a", "act", 8)
    table = {
        (i, j): {"cycles": 6.0 if max(i, j) <= 4 else 10.0, "flash_kb": 1.0 if free else i + 0.0}
        for i in range(1, 9)
        for j in range(1, 9)
    }
    return NetworkCost("toy", ("cycles", "flash_kb"), [Term("n", (w, a), table)]), w, a


def test_free_bits_are_those_that_no_metric_notices() -> None:
    cost, w, a = cliff(free=True)
    assert fill(cost, {w: 3, a: 2}) == {w: 4, a: 4}
    assert fill(cost, {w: 5, a: 2}) == {w: 8, a: 8}
    cost, w, a = cliff(free=False)
    assert fill(cost, {w: 3, a: 2}) == {w: 3, a: 4}, "flash pays for weights"


def test_uniform_points_are_the_outermost_that_fit() -> None:
    cost, w, a = cliff(free=False)
    points = uniform_points(cost, {"cycles": 6.0}, [w, a])
    assert points == {"uniform W4A4": {w: 4, a: 4}}
    points = uniform_points(cost, {"flash_kb": 5.0}, [w, a])
    assert points == {"uniform W4A8": {w: 4, a: 8}}
    assert uniform_points(cost, {"flash_kb": 1.0}, [w, a]) == {}


def test_sensitivities_are_averages_and_never_negative() -> None:
    w = BitWidth("w", "weight", 8)
    outputs = {b: torch.tensor([[float(8 - b), 0.0]]) for b in range(2, 9)}
    sensitivity = Sensitivity()
    for _ in range(2):
        sensitivity.measure(
            [w], lambda bits: (torch.zeros(()), outputs[bits[w]]), (torch.zeros(()), outputs[8])
        )
    damage = sensitivity.damage(w)
    probability = outputs[8].softmax(1)
    wanted = (probability * (outputs[8].log_softmax(1) - outputs[3].log_softmax(1))).sum()
    assert damage[3] == pytest.approx(float(wanted), rel=1e-5)
    assert damage[7] == pytest.approx(damage[6] / 4, rel=1e-3), "extrapolated"
    assert all(damage[b] > damage[b + 1] >= 0 for b in range(2, 8))


def test_fracbits_mixes_neighbours(module: QuantModule, images: Tensor, target: Any) -> None:
    controller = AdaQAT(
        module, steps=100, target=target, budget={"flash_kb": 2.0}, method="fracbits"
    )
    width = next(iter(controller.widths.values()))
    controller.search.values[width.name].data.fill_(3.25)  # type: ignore[attr-defined]
    assert module.mixture is not None
    parts = module.mixture(width)
    assert parts is not None and [(b, float(p.detach())) for b, p in parts] == [
        (3, 0.75),
        (4, 0.25),
    ]


def test_allowed_widths_come_from_the_table(residual: Make, images: Tensor, target: Any) -> None:
    class Bits:
        weight_bits, act_bits = (0, 2, 4, 8), (4, 8)

    target.widths = lambda kind: Bits
    module = prepare(residual(), images)
    calibrate(module, [images])
    controller = AdaQAT(
        module.train(), steps=60, target=target, budget={"flash_kb": 2.0}, warm_up=0, search=0.4
    )
    width = controller.widths["w:conv1"]
    assert width.allowed == (2, 4, 8)
    width.n = 4.5
    assert (width.integer, width.below(8), width.above(2)) == (8, 4, 4)
    train(module, controller, images, 40)
    assert controller.done
    assert {w.integer for w in controller.widths.values()} <= {2, 4, 8}
    Bits.weight_bits = (16,)
    with pytest.raises(UsageError, match="the target has 16"):
        AdaQAT(module, steps=10, target=target, strength=1.0)


def test_rivals_need_a_budget(module: QuantModule, target: Any) -> None:
    with pytest.raises(UsageError, match="method: 'knapsack' without a budget found"):
        AdaQAT(module, steps=10, target=target, strength=1.0, method="knapsack")
