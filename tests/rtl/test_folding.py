# SPDX-License-Identifier: Apache-2.0
"""The folding solver against exhaustive search, and goals that cannot be met."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import ceil

import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, UsageError
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.cost import design_resources
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.folding import choices, choose_folds
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.schedule import busy, schedule, with_deep_queues
from adaqat.deploy.rtl.words import RESERVED, verilog_name
from adaqat.deploy.targets import get
from adaqat.hw_models import load_fabric

TARGET = get("fpga-ice40")


def cost(options, folds):
    """(slowest cycles, LUTs, block memories) of a folding."""
    picked = [next(c for c in found if c.fold == folds[name]) for name, found in options.items()]
    return (
        max(c.cycles for c in picked), sum(c.lut for c in picked), sum(c.bram for c in picked)
    )  # fmt: skip


@pytest.fixture(scope="module")
def options(tiny_graph):
    """A few foldings of each layer: extremes and two between."""
    fabric = load_fabric(TARGET.name)
    found = {n.name: choices(tiny_graph, n, fabric) for n in tiny_graph.nodes}
    return {name: mine for name, mine in found.items() if mine}


def every(options):
    return itertools.product(*options.values())


def test_smallest_circuit_for_an_interval(tiny_graph, options):
    for interval in (2000, 700, 324):
        folds = choose_folds(tiny_graph, TARGET, Goals(30.0, interval))
        # with one interval for all, every layer's smallest fitting choice is the smallest whole
        least = sum(
            min(c.lut for c in found if c.cycles <= interval) for found in options.values()
        )
        cycles, lut, _ = cost(options, folds)
        assert cycles <= interval and lut == least


def test_fastest_circuit_of_a_size(tiny_graph, options):
    """Streams between layers and the family's reserve are part of the size."""
    fabric = load_fabric(TARGET.name)

    def whole(folds):
        design = with_deep_queues(lay_out(tiny_graph, TARGET, "net", folds))
        return ceil(design_resources(design, fabric).lut)

    smallest = whole(choose_folds(tiny_graph, TARGET, Goals(30.0, 10**6)))
    for share in (1.25, 1.5, 2.0):
        limit = round(smallest * share)
        folds = choose_folds(tiny_graph, TARGET, Goals(30.0, lut=limit))
        cycles, _, _ = cost(options, folds)
        kept = ceil(limit * fabric.kept_back)
        assert kept > 0 and whole(folds) + kept <= limit
        # exhaustive over speeds: the best interval at which the smallest circuit still fits
        for speed in sorted({c.cycles for found in options.values() for c in found}):
            if speed < cycles and all(any(c.cycles <= speed for c in f) for f in options.values()):
                fast = choose_folds(tiny_graph, TARGET, Goals(30.0, speed))
                assert whole(fast) + kept > limit, speed


def test_whole_circuit_is_within_a_twentieth_of_exhaustive_search():
    """The solver counts modules; queues, cutters and collectors between them count here too."""
    make = Maker(5, 3)
    x = input_node((4, 4, 2), IntType(4, False))
    first = make.conv("first", x, 6, IntType(3, False))
    net = graph(x, first, make.conv("last", first, 4, IntType(5, False), stride=(2, 2)))
    fabric = load_fabric(TARGET.name)
    options = {n.name: choices(net, n, fabric) for n in net.nodes}
    options = {name: mine for name, mine in options.items() if mine}
    whole = {}
    for picked in every(options):
        folds = dict(zip(options, (c.fold for c in picked), strict=True))
        lut = design_resources(lay_out(net, TARGET, "net", folds), fabric).lut
        whole[tuple(c.cycles for c in picked)] = lut
    for interval in (160, 300, 1000):
        folds = choose_folds(net, TARGET, Goals(30.0, interval))
        found = design_resources(lay_out(net, TARGET, "net", folds), fabric).lut
        best = min(lut for cycles, lut in whole.items() if max(cycles) <= interval)
        assert found <= 1.05 * best


def test_weights_that_find_no_block_memory_are_part_of_the_size():
    """Words of 512 bits need 32 block memories of 16, and the device has 30: they become LUTs."""
    act, fabric = IntType(2, False), load_fabric(TARGET.name)
    x = input_node((8, 8, 16), act)
    net = graph(x, Maker(22, 2).conv("only", x, 16, act))

    def whole(lut):
        circuit = plan_circuit(net, TARGET, "net", Goals(30.0, lut=lut))
        found = design_resources(circuit.design, fabric)
        assert found.bram <= fabric.brams
        return circuit.design.modules[0].fold.pe, found.lut

    for limit, lanes in ((4300, 8), (5070, 16)):
        pe, lut = whole(limit)
        assert pe == lanes and lut <= limit * (1 - fabric.kept_back)


def test_latency_is_kept(tiny_graph):
    free = choose_folds(tiny_graph, TARGET, Goals(30.0, 100_000))
    slow = schedule(with_deep_queues(lay_out(tiny_graph, TARGET, "net", free)))
    goal = slow.latency // 3
    folds = choose_folds(tiny_graph, TARGET, Goals(30.0, latency=goal))
    assert schedule(with_deep_queues(lay_out(tiny_graph, TARGET, "net", folds))).latency <= goal


def test_what_cannot_be_met_names_the_layer(tiny_graph):
    with pytest.raises(UsageError, match=r"(net\.conv|again) needs \d+ cycles a frame"):
        choose_folds(tiny_graph, TARGET, Goals(30.0, 3))
    with pytest.raises(UsageError, match=r"lut=50: at least \d+ predicted .* binds with"):
        choose_folds(tiny_graph, TARGET, Goals(30.0, lut=50))


def test_interval_is_the_slowest_module(tiny_graph):
    folds = choose_folds(tiny_graph, TARGET, Goals(30.0, 1000))
    design = with_deep_queues(lay_out(tiny_graph, TARGET, "net", folds))
    timed = schedule(design, 6)
    assert timed.interval == max(busy(module.plan.timing) for module in design.modules)


def test_goals_from_texts():
    usual = Goals.of(TARGET)
    assert usual.interval == 30_000 and usual.lut is None
    assert Goals.parse(["interval=500"], TARGET) == replace(usual, interval=500)
    assert Goals.parse(["frames_per_second=60000"], TARGET).interval == 500
    assert Goals.parse(["lut=3000"], TARGET) == replace(usual, interval=None, lut=3000)
    for text, words in (("speed=1", "NAME=NUMBER"), ("lut=-1", "positive"), ("lut=x", "positive")):
        with pytest.raises(UsageError, match=words):
            Goals.parse([text], TARGET)
    with pytest.raises(UsageError, match="given twice"):
        Goals.parse(["lut=1", "lut=2"], TARGET)


@pytest.mark.parametrize("name", ["wire", "logic", "int", "Net", "1net", "a" * 40, "inside"])
def test_unusable_names(name):
    with pytest.raises(UsageError, match="--name"):
        verilog_name(name)
    assert len(RESERVED) > 200
