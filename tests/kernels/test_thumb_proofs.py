# SPDX-License-Identifier: Apache-2.0
"""Bounds of the packed products on Cortex-M0, M0+ and M3, each with a counter-test."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from thumb_nets import convolutions, one_layer, rule_for, worst_conv

from adaqat.deploy import IntType
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.kernels import FAMILIES, thumb_conv, thumb_depthwise
from adaqat.deploy.kernels.thumb_choice import choose
from adaqat.deploy.kernels.thumb_forms import Fields, fields_forms, grid_of, lanes_forms
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host
from adaqat.hw_models.thumb_core import V6M, V7M
from adaqat.hw_models.thumb_planes import taps_group


def worst_layer(form_of, bits, act_bits, core):
    """A convolution whose sums reach the bound of its form, and a plan that ignores the proof."""
    act = IntType(act_bits, False)
    net, op = worst_conv(bits, act)
    source, output = net.input_node.output, net.output_node.output
    form = form_of(core, op.weights, act)
    return net, thumb_conv.conv_plan(core, form, op, source, output, 256, True)


def host_mismatches(net, target, plan, monkeypatch) -> int:
    """Differences on the host when the layer is emitted from the given plan."""
    family = FAMILIES[get(target).kernels[0]]
    monkeypatch.setitem(family.planners, net.output_node.op.kind, lambda *_: plan)
    codes = make_inputs(net, samples=8)
    try:
        return compare_host(layout(net, get(target), "net"), codes).mismatches
    except ToolError as error:  # the emitted self test has seen it first
        assert "self_test" in str(error)
        return -1


@pytest.mark.parametrize("core", [V6M, V7M])
@pytest.mark.parametrize(("bits", "act_bits", "span"), [(4, 8, 2), (2, 2, 4), (3, 8, 2)])
def test_one_more_multiply_breaks_the_fields(core, bits, act_bits, span, monkeypatch):
    target = "cortex-m0plus" if core.thumb1 else "cortex-m3"

    def allowed(core, weights, act) -> Fields:
        form = next(f for f in fields_forms(core, weights, act) if f.span == span)
        assert form.block <= form.limit
        return form

    def too_long(core, weights, act) -> Fields:
        form = allowed(core, weights, act)
        words = form.limit // form.fields + 1
        return dataclasses.replace(form, words=words, block=words * form.fields)

    net, plan = worst_layer(allowed, bits, act_bits, core)
    assert host_mismatches(net, target, plan, monkeypatch) == 0
    net, plan = worst_layer(too_long, bits, act_bits, core)
    assert host_mismatches(net, target, plan, monkeypatch) != 0


def test_longer_groups_break_the_lanes(monkeypatch):
    act = IntType(8, False)
    codes = np.zeros((4, 1, 1, 64), np.uint8)  # every weight is -128
    weights = Weights(codes, 8, 1, -128)
    op = Conv2d(weights, rule_for(weights, act), IntType(8, True), Window((1, 1)))
    net = one_layer(op, (2, 4, 64), act)
    source, output = net.input_node.output, net.output_node.output
    form = next(f for f in lanes_forms(weights, act) if f.group == 2)
    assert form.biased  # pairs of -128 need the added 0x8000
    for group, wrong in ((2, False), (4, True)):
        changed = dataclasses.replace(form, group=group)
        plan = thumb_conv.conv_plan(V6M, changed, op, source, output, 64, True)
        found = host_mismatches(net, "cortex-m0plus", plan, monkeypatch)
        assert (found != 0) == wrong


def test_longer_groups_break_the_depthwise_lanes(monkeypatch):
    act = IntType(8, False)
    weights = Weights(np.zeros((4, 3, 3, 1), np.uint8), 8, 1, -128)
    window = Window((3, 3), pad=(1, 1, 1, 1))
    op = DepthwiseConv2d(weights, rule_for(weights, act), IntType(8, True), window)
    net = one_layer(op, (6, 6, 4), act)
    source, output = net.input_node.output, net.output_node.output
    assert taps_group(grid_of(weights, act), 9) == (2, 127)
    for group, wrong in ((2, False), (4, True)):
        plan = thumb_depthwise.depthwise_plan(V6M, op, source, output, (group, 127))
        found = host_mismatches(net, "cortex-m0plus", plan, monkeypatch)
        assert (found != 0) == wrong


@pytest.mark.parametrize("core", [V6M, V7M])
def test_fewer_bits_never_cost_more_by_estimate(core):
    rng = np.random.default_rng(0)

    def cost(bits: int, act_bits: int, depth: int) -> float:
        codes = rng.integers(0, 1 << bits, (32, 1, 1, depth)).astype(np.uint8)
        weights = Weights(codes, bits, 1, -(1 << (bits - 1)))
        form = choose(core, weights, IntType(act_bits, False), 1, depth, 32)
        return form.cost(core, depth)

    for depth in (32, 64, 144):
        table = np.array([[cost(w, a, depth) for a in range(1, 9)] for w in range(1, 9)])
        assert (table[1:] >= table[:-1] * 0.98).all()
        assert (table[:, 1:] >= table[:, :-1] * 0.98).all()


def test_proofs_are_printed():
    model = layout(convolutions(4, 8, signed=False), get("cortex-m0plus"), "net")
    assert any("61200 <= 65535" in line for node in model.nodes for line in node.plan.proof)
