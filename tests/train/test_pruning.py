# SPDX-License-Identifier: Apache-2.0
"""Pruned channels: what is tied, what a smaller network costs, that its integers are the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_networks import Excite, Tcn, UNet, trained

from adaqat.deploy import UsageError, lower, quantize_input, simulate
from adaqat.deploy.graph import Graph, Node
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.weighted import Weights
from adaqat.train import AdaQAT, QuantModule, calibrate, exact, prepare
from adaqat.train.bits import BitWidth, override
from adaqat.train.channels import kept_channels, parts
from adaqat.train.models import build_model
from adaqat.train.pricing import network_cost
from adaqat.train.shrink import shrunk

Make = Callable[[], nn.Module]
LABELS = torch.arange(24) % 4


def channels(module: QuantModule) -> list[BitWidth]:
    return [w for w in module.widths if w.kind == "channels"]


def prepared(model: nn.Module, x: Tensor, **options: Any) -> QuantModule:
    module = prepare(model, x, **{"prune": 2, **options})
    calibrate(module, [x])
    return module.eval()


@pytest.fixture
def module(residual: Make, images: Tensor) -> QuantModule:
    return prepared(residual(), images)


def test_eighths_are_whole_groups() -> None:
    assert [kept_channels(16, 4, part) for part in (2, 3, 4, 5, 8)] == [4, 8, 8, 12, 16]
    assert parts(16, 4) == (2, 4, 6, 8) and parts(64, 4) == (2, 3, 4, 5, 6, 7, 8)
    assert parts(4, 4) == (8,), "one group: nothing to choose"


def test_channels_are_tied_at_joins_and_shown(module: QuantModule) -> None:
    shown = {g.name: g for g in module.groups() if g.kind == "channels"}
    assert set(shown) == {"c:conv", "c:conv2"}, "the sum ties conv1 to conv, and short to conv2"
    assert shown["c:conv"].reason == "the same channels in conv, conv1, add"
    assert shown["c:conv2"].kept == "8 of 8" and not shown["c:conv2"].fixed
    assert {"conv2", "short", "add_1"} <= set(shown["c:conv2"].members)


def test_depthwise_layers_follow_and_groups_stay_whole() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 16, 16)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 8, 1), nn.PReLU(8), nn.Conv2d(8, 8, 1),
        nn.Flatten(), nn.Linear(8 * 100, 4),
    )  # fmt: skip
    module = prepared(net, x)
    assert [w.name for w in channels(module)] == ["c:_0", "c:_6"], "not groups, slopes, output"
    for width in channels(module):
        width.n = 4.0
    small = shrunk(module)
    assert small.records["_1"].attrs["groups"] == 4 and small.records["_1"].depthwise
    assert small.records["_8"].inputs and small.tensor("8.weight").shape == (4, 400)
    lower(module, x)


def test_the_least_important_channels_go_first() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 1, 6, 6)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
    net.append(nn.Linear(64, 2))
    with torch.no_grad():
        net[0].weight.abs_()  # type: ignore[operator,union-attr]
        net[2].weight[:, [1, 4, 6]] *= 0.01  # type: ignore[index,operator]
        net[0].weight[[0, 3]] *= 1e-3  # type: ignore[index,operator]
        net[0].bias.zero_()  # type: ignore[operator,union-attr]
    module = prepared(net, x)
    (first,) = [s for s in module.channels.sets.values() if s.count == 8]  # type: ignore[union-attr]
    assert set(first.rank.argsort()[:3].tolist()) == {2, 5, 7}


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: UNet("transposed"), (3, 12, 8)),
        (lambda: UNet("bilinear"), (3, 8, 8)),
        (Excite, (3, 10, 12)),
        (lambda: Tcn(steps=True), (4, 23)),
    ],
    ids=["concat", "bilinear", "gates", "sequence"],
)
def test_the_smaller_network_has_the_masked_ones_integers(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(3)
    x = torch.randn(6, *shape)
    module = prepared(trained(make(), x), x)
    draw = random.Random(5)
    for width in channels(module):
        width.n = float(draw.choice(width.allowed))
    channels(module)[0].n = float(channels(module)[0].lo)
    graph = lower(module, x)  # compares every node with exact mode
    assert sum(n.op.weight_count for n in graph.nodes) < sum(
        module.tensor(r.weight).numel() for r in module.network.records if r.weight
    )
    codes = exact(module).codes(x)
    plan = module.channels
    assert plan is not None
    gone = 0
    for record in module.network.records:
        mask = plan.mask(record.name)
        if mask is not None:
            assert not codes[record.name][:, ~mask].any()
            gone += int((~mask).sum())
    assert gone > 0
    # what is trained is the same network, up to the rounding of its constants
    real = module(x).detach()
    assert float((exact(module)(x) - real).norm() / real.norm()) < 0.02


def padded(graph: Graph, module: QuantModule, images: Tensor) -> Graph:
    """The graph with its removed channels put back: constant zeros, read by arbitrary weights."""
    assert module.channels is not None
    draw = np.random.default_rng(0)
    masks = {r.name: module.channels.mask(r.name) for r in module.network.records}
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        inputs = tuple(nodes[name] for name in node.inputs)
        op: Any = node.op
        if isinstance(op, Conv2d | Linear):
            own, source = (None if m is None else m.numpy() for m in
                           (masks[node.name], masks[node.inputs[0]]))  # fmt: skip
            codes, rule = op.weights.codes, op.requant
            if source is not None:
                full = draw.integers(0, 1 << op.weights.bits, (*codes.shape[:-1], len(source)))
                full[..., source] = codes
                codes = full.astype(np.uint8)
            if own is not None:
                full = draw.integers(0, 1 << op.weights.bits, (len(own), *codes.shape[1:]))
                full[own] = codes
                codes = full.astype(np.uint8)
                spread = {k: np.zeros(len(own), np.int64) for k in ("bias", "m", "z")}
                for key, values in spread.items():
                    values[own] = getattr(rule, key)
                shifts = np.full(len(own), 17, np.int64)
                shifts[own] = rule.s
                rule = replace(rule, **spread, s=shifts)
            weights = Weights(codes, op.weights.bits, op.weights.step, op.weights.offset)
            op = replace(op, weights=weights, requant=rule)
        elif type(op).__name__ == "Reshape" and masks[node.name] is not None:
            op = replace(op, shape=(len(masks[node.name]),))  # type: ignore[arg-type]
        shape, type_ = op.infer([n.output for n in inputs]) if inputs else (None, None)
        output = node.output
        if shape is not None and type_ is not None:
            output = replace(output, shape=shape, type=type_)
        nodes[node.name] = replace(node, op=op, output=output)
    return graph.with_nodes(tuple(nodes.values()))


@pytest.mark.parametrize("part", [3, 5])
def test_removal_changes_no_integer(residual: Make, images: Tensor, part: int) -> None:
    module = prepared(residual(), images)
    for width in channels(module):
        width.n = float(width.at_least(part))
    small = lower(module, images)
    whole = padded(small, module, images)
    assert sum(n.op.weight_count for n in whole.nodes) > sum(n.op.weight_count for n in small.nodes)
    far = torch.cat([images * 30, -images * 30, images])
    codes = quantize_input(small, far.double().numpy())
    before, after = simulate(whole, codes, keep=True), simulate(small, codes, keep=True)
    for name, values in after.items():
        mask = module.channels.mask(name)  # type: ignore[union-attr]
        wanted = before[name] if mask is None else before[name][..., mask.numpy()]
        assert np.array_equal(wanted, values), name


def test_the_cost_is_that_of_the_smaller_network(
    residual: Make, images: Tensor, target: Any
) -> None:
    module = prepared(residual(), images)
    cost = network_cost(module, target)
    draw = random.Random(1)
    for _ in range(3):
        bits = {w: draw.choice(w.allowed) for w in module.widths if not w.fixed}
        with override(bits):
            works = dict(lower(module, images).works())
        assert {t.name for t in cost.terms} == set(works)
        for term in cost.terms:
            wanted = target.node_cost(works[term.name])
            assert term.at(bits, "cycles") == wanted.cycles
            assert term.at(bits, "flash_kb") == wanted.flash_bytes / 1024
    real = network_cost(module, "cortex-m4")
    few, all_ = ({w: getattr(w, end) for w in channels(module)} for end in ("lo", "hi"))
    assert all(real.total(m, few) < real.total(m, all_) for m in real.limited)
    assert real.total("cycles", all_) == network_cost(
        prepared(residual(), images, prune=0), "cortex-m4"
    ).total("cycles")


def search(module: QuantModule, images: Tensor, **options: Any) -> AdaQAT:
    controller = AdaQAT(module.train(), steps=40, warm_up=1, probes=6, **options)
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)

    def closure() -> tuple[Tensor, Tensor]:
        output = module(images)
        return F.cross_entropy(output, LABELS), output

    while not controller.done:
        loss, output = closure()
        optimizer.zero_grad()
        loss.backward()
        controller.step(closure, loss=loss, output=output)
        optimizer.step()
    return controller


def test_a_budget_below_the_fewest_bits_takes_channels(
    residual: Make, images: Tensor, target: Any
) -> None:
    bits_only = prepared(residual(), images, prune=0)
    cost = network_cost(bits_only, target)
    least = cost.total("cycles", {w: 2 for w in bits_only.widths if not w.fixed})
    limit = {"cycles": 0.8 * least}
    with pytest.raises(UsageError, match="smallest reachable"):
        AdaQAT(bits_only, steps=10, target=target, budget=limit)
    module = prepared(residual(), images)
    controller = search(module, images, target=target, budget=limit)
    assert controller.done and controller.costs()["cycles"] <= limit["cycles"]
    assert any(w.integer < 8 for w in channels(module)) and all(w.frozen for w in module.widths)
    graph = lower(module.eval(), images)
    counted = sum(target.node_cost(work).cycles for _, work in graph.works())
    assert counted == pytest.approx(controller.costs()["cycles"])
    module = prepared(residual(), images)
    with pytest.raises(UsageError, match=r"cycles = 1 cannot be met .*reachable cost"):
        AdaQAT(module, steps=10, target=target, budget={"cycles": 1.0})


def test_masked_channels_get_no_gradient_and_probes_replay(
    module: QuantModule, images: Tensor
) -> None:
    width = channels(module)[0]
    module.train()
    with override({width: width.lo}):
        out = module(images)
        out.square().sum().backward()  # type: ignore[no-untyped-call]
        mask = module.channels.mask("conv")  # type: ignore[union-attr]
    assert mask is not None and not mask.all()
    grad = module.tensor("conv.weight").grad
    assert grad is not None and not grad[~mask].any() and grad[mask].any()


def test_rivals_keep_every_channel(residual: Make, images: Tensor, target: Any) -> None:
    module = prepared(residual(), images)
    budget = {"cycles": 0.95 * network_cost(module, target).total("cycles")}
    controller = search(module, images, target=target, budget=budget, method="knapsack")
    assert controller.done and all(w.integer == 8 for w in channels(module))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "adaqat"}, "prune: mode 'adaqat' found; repaired is supported"),
        ({"method": "fracbits", "budget": {"cycles": 9e9}}, "prune: method 'fracbits' found"),
        ({"target": "bitops"}, "prune: target 'bitops' found; a cost table"),
        ({"target": "fpga-ice40"}, "prune: target 'fpga-ice40' found; a microcontroller's table"),
    ],
)
def test_what_cannot_prune(
    module: QuantModule, target: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        AdaQAT(module, **{"steps": 10, "target": target, **options})


@pytest.mark.parametrize("options", [{"prune": -1}, {"prune": 4, "weight_quantizer": "dorefa"}])
def test_bad_pruning(residual: Make, images: Tensor, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"prune: .* found; 0 or a number of channels"):
        prepare(residual(), images, **options)


def test_large_networks_have_the_sets_one_expects() -> None:
    x = torch.randn(2, 3, 16, 16)
    module = prepare(build_model("resnet20", 3, 10), x, prune=4)
    shown = [g for g in module.groups() if g.kind == "channels"]
    assert len(shown) == 12, "three stages of tied sums, nine layers inside blocks"
