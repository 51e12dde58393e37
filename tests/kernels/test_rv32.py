# SPDX-License-Identifier: Apache-2.0
"""Kernels of RV32: exact on host and emulated core, proofs with counter-tests, steady cost."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from thumb_nets import NETS, convolutions, one_layer, rule_for, worst_conv

from adaqat.deploy import IntType
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.kernels import FAMILIES, thumb_conv, thumb_depthwise
from adaqat.deploy.kernels.rv32 import with_own_helpers
from adaqat.deploy.kernels.thumb_forms import fields_forms, lanes_forms
from adaqat.deploy.ops.base import Op, Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host
from adaqat.hw_models.thumb_core import RV32

TARGET = "riscv32"
PAIRS = [(w, a) for w in range(1, 9) for a in range(1, 9)]
FEW = [(8, 8), (7, 8), (6, 7), (5, 8), (4, 8), (3, 3), (2, 2), (1, 8), (8, 2)]


def on_device(net, codes, **options) -> Tally:
    """Every node on the emulated core against the simulator."""
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    model = layout(net, get(TARGET), "net")
    tally = Tally(model, TARGET)
    with Device(model, TARGET, **options) as device:
        tally.add(codes, device.trace(codes))
    return tally


@pytest.mark.thinned(2)
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize(("weight_bits", "act_bits"), FEW)
def test_every_geometry_on_the_host(weight_bits, act_bits, turn):
    for number, make in enumerate(NETS.values()):
        signed = (weight_bits + act_bits + number) % 2 == 0
        extreme = (weight_bits + number // 2 + turn) % 2 == 0
        net = make(weight_bits, act_bits, signed=signed, extreme=extreme, seed=act_bits)
        model = layout(net, get(TARGET), "net")
        tally = compare_host(model, make_inputs(net, samples=12, seed=weight_bits))
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (6, 7), (4, 8), (2, 2), (1, 8)])
def test_every_geometry_on_the_core(weight_bits, act_bits, name):
    signed = (weight_bits + act_bits + (name == "convolutions")) % 2 == 0
    net = NETS[name](weight_bits, act_bits, signed=signed, extreme=weight_bits % 2 == 0, seed=7)
    tally = on_device(net, make_inputs(net, samples=8, seed=1))
    assert tally.mismatches == 0, tally.first


@pytest.mark.sweep
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("weight_bits", "act_bits"), PAIRS)
def test_all_pairs_of_widths_on_the_core(weight_bits, act_bits, extreme):
    for number, make in enumerate(NETS.values()):
        signed = (weight_bits + number) % 2 == 0
        net = make(weight_bits, act_bits, signed=signed, extreme=extreme, seed=act_bits)
        tally = on_device(net, make_inputs(net, samples=8, seed=1))
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("optimise", ["-O3", "-O0", "-Os"])
def test_other_levels(optimise):
    for name, bits in (("convolutions", 3), ("depthwises", 8)):
        net = NETS[name](bits, 4, signed=False)
        tally = on_device(net, make_inputs(net, samples=6), optimise=optimise)
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear"])
@pytest.mark.parametrize("low", [False, True])
def test_worst_weights(kind, low):
    # all weights at one end, also two -128 in one group, with activations at the ends
    window = Window((3, 3), pad=(1, 1, 1, 1))
    for bits in (8, 7, 4, 2):
        for signed in (False, True):
            act = IntType(8, signed)
            end = 0 if low else (1 << bits) - 1
            shape = {"conv": (5, 3, 3, 4), "depthwise": (4, 3, 3, 1), "linear": (5, 144)}[kind]
            codes = np.full(shape, end, np.uint8)
            weights = Weights(codes, bits, 1, -(1 << (bits - 1)))
            rule, out = rule_for(weights, act), IntType(8, True)
            op: Op
            if kind == "linear":
                op = Linear(weights, rule, out)
            else:
                layer = Conv2d if kind == "conv" else DepthwiseConv2d
                op = layer(weights, rule, out, window)
            net = one_layer(op, (144,) if kind == "linear" else (6, 6, 4), act)
            model = layout(net, get(TARGET), "net")
            assert compare_host(model, make_inputs(net, samples=16)).mismatches == 0


def host_mismatches(net, plan, monkeypatch) -> int:
    """Differences on the host when the layer is emitted from the given plan; -1: its self test."""
    planners = FAMILIES[RV32.name].planners
    monkeypatch.setitem(planners, net.output_node.op.kind, lambda *_: plan)
    try:
        found = compare_host(layout(net, get(TARGET), "net"), make_inputs(net, samples=8))
    except ToolError as error:
        assert "self_test" in str(error)
        return -1
    return found.mismatches


@pytest.mark.parametrize(("bits", "act_bits", "span"), [(4, 8, 2), (2, 2, 4), (3, 8, 2)])
def test_one_more_multiply_breaks_the_fields(bits, act_bits, span, monkeypatch):
    act = IntType(act_bits, False)
    net, op = worst_conv(bits, act)
    source, output = net.input_node.output, net.output_node.output
    form = next(f for f in fields_forms(RV32, op.weights, act) if f.span == span)
    assert form.block <= form.limit
    for words, wrong in ((form.words, False), (form.limit // form.fields + 1, True)):
        changed = dataclasses.replace(form, words=words)
        plan = with_own_helpers(
            thumb_conv.conv_plan(RV32, changed, op, source, output, 256, True)
        )
        assert (host_mismatches(net, plan, monkeypatch) != 0) == wrong


def test_longer_groups_break_the_lanes(monkeypatch):
    act = IntType(8, False)
    weights = Weights(np.zeros((4, 1, 1, 64), np.uint8), 8, 1, -128)
    op = Conv2d(weights, rule_for(weights, act), IntType(8, True), Window((1, 1)))
    net = one_layer(op, (2, 4, 64), act)
    source, output = net.input_node.output, net.output_node.output
    form = next(f for f in lanes_forms(weights, act) if f.group == 2)
    for group, wrong in ((2, False), (4, True)):
        changed = dataclasses.replace(form, group=group)
        plan = with_own_helpers(thumb_conv.conv_plan(RV32, changed, op, source, output, 64, True))
        assert (host_mismatches(net, plan, monkeypatch) != 0) == wrong


def test_longer_groups_break_the_depthwise_lanes(monkeypatch):
    act = IntType(8, False)
    weights = Weights(np.zeros((4, 3, 3, 1), np.uint8), 8, 1, -128)
    window = Window((3, 3), pad=(1, 1, 1, 1))
    op = DepthwiseConv2d(weights, rule_for(weights, act), IntType(8, True), window)
    net = one_layer(op, (6, 6, 4), act)
    source, output = net.input_node.output, net.output_node.output
    for group, wrong in ((2, False), (4, True)):
        plan = with_own_helpers(
            thumb_depthwise.depthwise_plan(RV32, op, source, output, (group, 127))
        )
        assert (host_mismatches(net, plan, monkeypatch) != 0) == wrong


@pytest.mark.parametrize(("bits", "proof"), [(2, "<= 255, lower"), (8, "0x8000 is added")])
def test_proofs_are_printed(bits, proof):
    model = layout(convolutions(bits, bits, signed=False), get(TARGET), "net")
    assert any(proof in line for node in model.nodes for line in node.plan.proof)


def test_cost_hardly_depends_on_the_data():
    """A clamp that limits takes one instruction more than one that does not."""
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    net = convolutions(4, 8, signed=False)
    codes = make_inputs(net, samples=6)
    with Device(layout(net, get(TARGET), "net"), TARGET) as device:
        counts = [device.count(codes[i : i + 1]) for i in range(len(codes))]
    totals = [sum(r.instructions for r in c.nodes.values()) for c in counts if c is not None]
    assert len(totals) == len(codes) and max(totals) <= 1.02 * min(totals)
