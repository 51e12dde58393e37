# SPDX-License-Identifier: Apache-2.0
"""The controller in a training loop: probes, budgets, freezing, state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UsageError
from adaqat.train import AdaQAT, QuantModule, calibrate, prepare
from adaqat.train.search import bit_worth

Make = Callable[[], nn.Module]
LABELS = torch.arange(24) % 4


@pytest.fixture
def module(residual: Make, images: Tensor) -> QuantModule:
    prepared = prepare(residual(), images)
    calibrate(prepared, [images])
    return prepared.train()


def train(module: QuantModule, controller: AdaQAT, images: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)

    def closure() -> tuple[Tensor, Tensor]:
        output = module(images)
        return F.cross_entropy(output, LABELS), output

    for _ in range(steps):
        loss, output = closure()
        optimizer.zero_grad()
        loss.backward()
        controller.step(closure, loss=loss, output=output)
        optimizer.step()


def statistics(module: QuantModule) -> dict[str, Tensor]:
    return {
        k: v.clone() for k, v in module.state_dict().items() if "running" in k or "batches" in k
    }


def test_probes_leave_everything_but_the_widths_alone(
    module: QuantModule, images: Tensor, target: Any
) -> None:
    controller = AdaQAT(module, steps=1000, target=target, strength=0.1, warm_up=0)
    before = {k: v.clone() for k, v in module.state_dict().items() if "widths" not in k}
    controller.step(lambda: ((o := module(images)).sum(), o))
    after = module.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert any(w.n != 8 for w in controller.widths.values())


def test_training_forwards_still_update_statistics(module: QuantModule, images: Tensor) -> None:
    before = statistics(module)
    module(images)
    after = statistics(module)
    assert all(not torch.equal(after[k], before[k]) for k in before)


@pytest.mark.parametrize("mode", ["repaired", "adaqat"])
def test_a_huge_strength_drives_all_widths_to_the_floor(
    module: QuantModule, images: Tensor, target: Any, mode: str
) -> None:
    # The raw difference of the published rule sees nothing on a plateau, so it gets the proxy.
    cost = target if mode == "repaired" else "bitops"
    controller = AdaQAT(module, steps=400, target=cost, strength=1e5, mode=mode, warm_up=0)
    train(module, controller, images, 140)
    assert controller.done
    assert {w.integer for w in controller.widths.values()} == {2}


@pytest.mark.parametrize("granularity", ["layer", "network"])
def test_no_strength_keeps_the_bits(
    residual: Make, images: Tensor, target: Any, granularity: str
) -> None:
    module = prepare(residual(), images, granularity=granularity)
    calibrate(module, [images])
    controller = AdaQAT(module.train(), steps=60, target=target, strength=1e-9)
    train(module, controller, images, 60)
    assert all(w.integer >= 7 for w in controller.widths.values())
    searched = {"w:conv1", "a:conv"} if granularity == "layer" else {"weights", "activations"}
    assert searched <= set(controller.widths)


@pytest.mark.parametrize("parts", [{"flash_kb": 0.8}, {"cycles": 0.92, "flash_kb": 0.85}])
def test_a_budget_is_met_exactly_and_everything_is_frozen(
    module: QuantModule, images: Tensor, target: Any, parts: dict[str, float]
) -> None:
    start = AdaQAT(module, steps=1, target=target, strength=1.0).costs()
    budget = {metric: part * start[metric] for metric, part in parts.items()}
    controller = AdaQAT(module, steps=120, target=target, budget=budget, warm_up=2)
    train(module, controller, images, 60)
    assert controller.done and all(w.frozen for w in module.widths)
    assert all(controller.costs()[m] <= limit for m, limit in budget.items())
    assert all(controller.costs()[m] > 0.8 * limit for m, limit in budget.items())
    widths = {w.name: w.integer for w in module.widths}
    train(module, controller, images, 3)
    assert widths == {w.name: w.integer for w in module.widths}


def test_flash_alone_leaves_activations_at_eight(
    module: QuantModule, images: Tensor, target: Any
) -> None:
    controller = AdaQAT(module, steps=60, target=target, budget={"flash_kb": 2.1}, warm_up=0)
    assert all(name.startswith("w:") for name in controller.widths)
    train(module, controller, images, 30)
    assert all(w.integer == 8 for w in module.widths if w.kind == "act")


def test_the_papers_rule_on_the_papers_proxy(residual: Make, images: Tensor) -> None:
    module = prepare(
        residual(), images, granularity="network", weight_quantizer="dorefa", act_quantizer="pact"
    )
    calibrate(module, [images])
    controller = AdaQAT(module.train(), steps=300, target="bitops", mode="adaqat", warm_up=0)
    assert controller.strength == {"bitops": pytest.approx(1.28)}
    train(module, controller, images, 20)
    # g = (L(8) - L(7)) + 0.02 * 8, eta 0.1: about 0.016 bits a step
    w = controller.widths["weights"]
    assert w.n == pytest.approx(8 - 20 * 0.016, abs=0.1)


def test_the_released_order_is_by_rounding_error(module: QuantModule, images: Tensor) -> None:
    controller = AdaQAT(module, steps=300, target="bitops", mode="adaqat", warm_up=0)
    search = controller.search
    weights = {w: search.error(w) for w in search.open("weight")}  # type: ignore[attr-defined]
    assert len(set(weights.values())) == len(weights) >= 3
    worst = max(weights, key=lambda w: weights[w])
    train(module, controller, images, 1)
    assert [w for w in weights if w.n != 8] == [worst], "the weights of largest error alone"
    acts = search.open("act")
    assert len(acts) >= 3
    assert len({w.n for w in acts}) == 1 and acts[0].n < 8, "activations move as one"
    for width in weights:
        width.freeze(4)
    before = {w: w.n for w in acts}
    train(module, controller, images, 1)
    assert sum(w.n != before[w] for w in acts) == 1, "then one at a time"


def test_verdicts_explain_each_width(module: QuantModule, images: Tensor, target: Any) -> None:
    controller = AdaQAT(module, steps=100, target=target, strength=1.0, warm_up=0, probes=6)
    assert all(v.worth is None for v in controller.verdicts())
    train(module, controller, images, 1)
    for verdict in controller.verdicts():
        assert verdict.probed == 8
        assert verdict.worth is not None and verdict.price is not None and verdict.price >= 0


def test_loss_term(module: QuantModule, target: Any) -> None:
    controller = AdaQAT(module, steps=10, target=target, strength={"cycles": 2.0})
    assert float(controller.loss_term()) == pytest.approx(2.0), "all widths at 8"


def test_state_goes_on_where_it_stopped(residual: Make, images: Tensor, target: Any) -> None:
    def fresh() -> tuple[QuantModule, AdaQAT]:
        module = prepare(residual(), images)
        calibrate(module, [images])
        options: dict[str, Any] = {"budget": {"flash_kb": 2.1}, "warm_up": 0}
        return module.train(), AdaQAT(module, steps=100, target=target, **options)

    def probe_only(module: QuantModule, controller: AdaQAT, steps: int) -> None:
        for _ in range(steps):
            controller.step(lambda: (F.cross_entropy(o := module(images), LABELS), o))

    whole, one = fresh()
    probe_only(whole, one, 20)
    half, two = fresh()
    probe_only(half, two, 11)
    resumed, three = fresh()
    resumed.load_state_dict(half.state_dict())
    three.load_state(two.state())
    probe_only(resumed, three, 9)
    assert [w.n for w in resumed.widths] == [w.n for w in whole.widths]
    assert three.state() == one.state()


def test_signals() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    one = torch.tensor(1.0)
    assert bit_worth((one, a), (one, a), "kl") == 0
    assert bit_worth((one, a), (one, b), "kl") == pytest.approx(1.5232, abs=1e-3)
    assert bit_worth((one, a), (one + 0.5, b), "loss") == pytest.approx(0.5)
    assert bit_worth((one, a[:, :1]), (one + 0.5, b[:, :1]), "kl") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "x"}, "mode: 'x' found; repaired, adaqat"),
        ({"signal": "x"}, "signal: 'x' found; kl, loss"),
        ({"freeze": "x"}, "freeze: 'x' found"),
        ({"budget": {"flash_kb": 3}, "strength": 1.0}, "budget and strength found"),
        ({"budget": {"flash_kb": 0.1}}, "smallest reachable cost"),
        ({"strength": {"ram_kb": 1.0}}, "strength: ram_kb found"),
        ({"steps": 0}, "steps: 0 found"),
    ],
)
def test_bad_options(
    module: QuantModule, target: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        AdaQAT(module, **{"steps": 10, "target": target, **options})


def test_kl_needs_outputs(module: QuantModule, images: Tensor, target: Any) -> None:
    controller = AdaQAT(module, steps=10, target=target, strength=1.0, warm_up=0)
    with pytest.raises(UsageError, match=r"\(loss, output\) is needed"):
        controller.step(lambda: module(images).sum())
