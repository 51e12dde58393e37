# SPDX-License-Identifier: Apache-2.0
"""FPGA targets in training: priced as deployed, budgets kept by the deployed circuit."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adaqat.deploy import UsageError, lower
from adaqat.deploy.budget import parse_budgets
from adaqat.deploy.rtl.cost import Resources, design_resources
from adaqat.deploy.rtl.design import Design, lay_out
from adaqat.deploy.rtl.dsp import SUMS, products
from adaqat.deploy.rtl.folding import choose_folds
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.schedule import schedule, with_deep_queues
from adaqat.deploy.targets import get
from adaqat.hw_models import load_fabric
from adaqat.train import AdaQAT, QuantModule, calibrate, circuits, prepare
from adaqat.train.bits import BitWidth, override
from adaqat.train.circuits import circuit_cost
from adaqat.train.cli import packaged
from adaqat.train.models import build_model
from adaqat.train.pricing import network_cost, table_name

TARGET = "fpga-ice40"
RATE = 1500.0


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def prepared(images: Tensor) -> QuantModule:
    torch.manual_seed(2)
    model = build_model("digits_resnet", 1, 10)
    model.train()(images)
    module = prepare(model.eval(), images)
    calibrate(module, [images])
    return module


@pytest.fixture
def module(images: Tensor) -> QuantModule:
    return prepared(images)


@pytest.fixture(scope="module")
def refused(images: Tensor) -> Iterator[QuantModule]:
    """A module for budgets that are refused: nothing moves, so each price is asked for once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(circuits, "circuit_cost", lru_cache(circuit_cost))
        yield prepared(images)


def folded(
    module: QuantModule, images: Tensor, bits: Mapping[BitWidth, int], goals: Goals
) -> Design:
    """The circuit that the back end makes of these widths, folded anew."""
    module.eval()
    with override(bits):
        graph = lower(module, images[:2])
    target = get(TARGET)
    return with_deep_queues(lay_out(graph, target, "net", choose_folds(graph, target, goals)))


def deployed(module: QuantModule, images: Tensor, bits: Mapping[BitWidth, int]) -> Resources:
    """What the back end predicts for these widths; DSP slices as synthesis chooses them.

    Those of sums are left out: multiplied at once or bit by bit, a sum costs about the same.
    """
    fabric = load_fabric(TARGET)
    goals = Goals(fabric.clock_mhz, int(fabric.clock_mhz * 1e6 / RATE))
    design = folded(module, images, bits, goals)
    found = [p for part in design.modules for p in products(part.plan, fabric)]
    slices = sum(p.slices for p in found if p.wide and p.kind != SUMS)
    return replace(design_resources(design, fabric), dsp=slices)


def test_prices_are_those_of_the_deployed_circuit(module: QuantModule, images: Tensor) -> None:
    cost = circuit_cost(module, TARGET, RATE)
    free = [w for w in module.widths if not w.fixed]
    draw = random.Random(4)
    cases = [dict.fromkeys(free, bits) for bits in (8, 5, 2)]
    cases += [{w: draw.randint(2, 8) for w in free} for _ in range(3)]
    luts = []
    for bits in cases:
        found = deployed(module, images, bits)
        assert cost.total("lut", bits) == pytest.approx(found.lut, rel=0.06)
        # deployment folds each network anew and may use block memories to save LUTs
        assert abs(cost.total("bram", bits) - found.bram) <= 4
        assert cost.total("dsp", bits) == pytest.approx(found.dsp, abs=2)
        luts.append(cost.total("lut", bits))
    assert luts[2] < 0.7 * luts[0]


def test_a_search_keeps_the_budget_of_the_circuit(module: QuantModule, images: Tensor) -> None:
    labels = torch.arange(8) % 4
    limit = 0.75 * circuit_cost(module, TARGET, RATE).total("lut")
    controller = AdaQAT(
        module.train(), steps=60, target=TARGET, warm_up=1, search=0.5,
        budget={"lut": limit, "frames_per_second": RATE},
    )  # fmt: skip
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)

    def closure() -> tuple[Tensor, Tensor]:
        output = module(images)
        return F.cross_entropy(output, labels), output

    for _ in range(50):
        loss, output = closure()
        optimizer.zero_grad()
        loss.backward()
        controller.step(closure, loss=loss, output=output)
        optimizer.step()
    assert controller.done
    assert controller.costs()["lut"] <= limit
    assert deployed(module, images, {}).lut <= 1.03 * limit
    assert {w.integer for w in controller.widths.values()} != {8}


def test_budgets_of_circuits_at_the_command_line() -> None:
    texts = ["lut=4000", "bram=30", "frames_per_second=1000"]
    wanted = {"lut": 4000.0, "bram": 30.0, "frames_per_second": 1000.0}
    assert parse_budgets(texts, training=True) == wanted
    assert packaged("digits_fpga").search.budget.keys() == wanted.keys()


def test_a_faster_circuit_is_larger(module: QuantModule) -> None:
    slow, fast = (circuit_cost(module, TARGET, rate).total("lut") for rate in (200.0, 4000.0))
    assert fast > 1.2 * slow


@pytest.mark.parametrize(
    ("target", "budget", "message"),
    [
        ("fpga-xilinx7", {"lut": 9e9}, "no measured LUT prices for fpga-xilinx7; train for"),
        (TARGET, {"lut": 9e9, "frames_per_second": 0}, "frames_per_second = 0; a positive"),
        (TARGET, {"lut": 9e9, "frames_per_second": 1e6}, "needs .* cycles a frame at its fastest"),
        (TARGET, {"frames_per_second": 100}, "only frames_per_second found; .*; add lut, bram or"),
        (TARGET, {"latency_ms": 1.0}, "only latency_ms found; foldings keep that"),
        (TARGET, {"lut": 10}, "lut = 10 cannot be met on fpga-ice40; the smallest reachable"),
        (TARGET, {"flash_kb": 1}, "fpga-ice40 prices lut, bram, dsp;"),
        (TARGET, {"lut": 9e9, "latency_ms": 0.001}, "no folding on fpga-ice40 keeps"),
        (TARGET, {"lut": 9e9, "dsp": 1, "frames_per_second": 1e4}, "dsp = 1 cannot be met"),
        ("cortex-m4", {"flash_kb": 9e9, "frames_per_second": 10}, "FPGA targets take it; use"),
    ],
)
def test_what_no_circuit_can_keep(
    refused: QuantModule, target: str, budget: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        AdaQAT(refused, steps=60, target=target, budget=budget)


def test_a_latency_is_kept_by_the_folding(module: QuantModule, images: Tensor) -> None:
    cost = circuit_cost(module, TARGET, latency_ms=0.3)
    assert cost.total("lut") > 1.5 * circuit_cost(module, TARGET).total("lut")
    clock = load_fabric(TARGET).clock_mhz
    design = folded(module, images, {}, Goals(clock, None, int(clock * 1e3 * 0.3)))
    timed = schedule(design, 2)
    assert timed is not None and timed.latency / clock / 1e3 <= 0.3


def test_the_training_loop_gets_its_module_back(module: QuantModule) -> None:
    before = {w.name: w.integer for w in module.widths}
    module.train()
    network_cost(module, TARGET)
    assert module.training
    assert {w.name: w.integer for w in module.widths} == before
    assert table_name(TARGET).startswith(f"{TARGET} ")
