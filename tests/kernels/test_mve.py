# SPDX-License-Identifier: Apache-2.0
"""The MVE kernels: assembly on a Cortex-M55 in QEMU and the C twin on this machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mve_nets import NETS, dense, planes
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.kernels import mve_packing, mve_plane
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.requant import AddRequant
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import Toolchain, find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host
from adaqat.hw_models import load_core

TARGET = "cortex-m55"
QUICK = ((8, 8), (5, 3), (4, 8), (2, 2), (1, 1))
WIDTHS = [
    pytest.param(w, a, marks=() if (w, a) in QUICK else pytest.mark.sweep)
    for w in range(1, 9)
    for a in range(1, 9)
]


def on_device(model, codes, toolchain: Toolchain | None = None, optimise="-O2"):
    pytest.importorskip("elftools")
    reason = qemu_missing(load_core(TARGET))
    if reason:
        pytest.skip(reason)
    from adaqat.deploy.device import Device

    tally = Tally(model, TARGET)
    with Device(model, TARGET, toolchain=toolchain, optimise=optimise) as device:
        tally.add(codes, device.trace(codes))
    return tally


def inside(net, codes):
    """Share of output codes that are not at the ends of their range."""
    kept = simulate(net, codes, keep=True)
    return float(np.mean([
        np.mean((kept[n.name] > n.output.type.lo) & (kept[n.name] < n.output.type.hi))
        for n in net.nodes if n.op.weight_bits
    ]))  # fmt: skip


def twin_is_wrong(model, codes):
    """Whether the C twin differs from the simulator; its self test may say so first."""
    try:
        return compare_host(model, codes).result().mismatches > 0
    except ToolError as error:
        return "computes other integers" in str(error)


def test_every_loop_is_there():
    """The networks reach what they are for: each kind of kernel function, each family operator."""
    text = ""
    for make in NETS:
        for bits in (8, 4, 2):
            model = layout(make(bits, 8, signed=False), get(TARGET), "n")
            text += str([node.plan for node in model.nodes])
    for found in (
        "'looped': True", "'long': True", "'long': False", "'direct': True", "'direct': False",
        "'apart': True", "'fields': 2", "'fields': 4", "'half': True", "'half': False",
        "'odd': True", "'share': 1", "'share': 2", "'share': 4", "'tail': True", "'narrow': 2",
        "'unrolled': 0", "'single': True", "'pairs': True", "'double': 1", "'straight': 0",
        "'twice': 1", "'wide': True", "'wide': False", "'direct': True", "mve_apart",
        "mve_copy", "mve_add", "mve_maximum", "mve_average", "mve_requantize", "mve_border",
    ):  # fmt: skip
        assert found in text, found


@pytest.mark.parametrize(("weight_bits", "act_bits"), WIDTHS)
@pytest.mark.parametrize("make", NETS)
def test_assembly_and_twin(make, weight_bits, act_bits):
    extreme = (weight_bits + act_bits) % 2 == 1
    # one sign for each, because QEMU is slow to start
    signed = (weight_bits % 2 == 0) == (make is dense)
    net = make(weight_bits, act_bits, signed=signed, extreme=extreme, seed=act_bits)
    codes = make_inputs(net, samples=6, seed=weight_bits)
    if act_bits > 2 and not extreme:
        assert inside(net, codes) > 0.2
    model = layout(net, get(TARGET), "net")
    host = compare_host(model, codes).result()
    assert host.mismatches == 0, host.first_mismatch
    tally = on_device(model, codes)
    assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize(
    ("compiler", "optimise"), [("gcc", "-O3"), ("gcc", "-Os"), ("zig", "-Os"), ("zig", "-O3")]
)
@pytest.mark.parametrize("make", NETS)
def test_compilers(make, compiler, optimise):
    try:
        toolchain = find_toolchain(compiler)
    except ToolError as error:
        pytest.skip(str(error))
    for weight_bits, act_bits, signed in ((8, 8, False), (4, 8, True)):
        net = make(weight_bits, act_bits, signed=signed)
        tally = on_device(
            layout(net, get(TARGET), "net"), make_inputs(net, samples=4), toolchain, optimise
        )
        assert tally.mismatches == 0, tally.first


def constant_channels(rule):
    """Every third channel constant, as left by a channel that cannot move its output."""
    if isinstance(rule, AddRequant) or len(rule.m) == 1:
        return rule
    dead = np.arange(len(rule.m)) % 3 == 0
    return replace(
        rule,
        m=np.where(dead, 0, rule.m),
        bias=np.where(dead, 0, rule.bias),
        z=np.where(dead, rule.lo + 1, rule.z),
    )


def fused_relu(rule):
    return replace(rule, lo=rule.lo + 3, hi=rule.hi - 4)


@pytest.mark.parametrize("change", [constant_channels, fused_relu])
@pytest.mark.parametrize("make", NETS)
def test_constants_per_channel_and_narrow_clamps(make, change):
    for weight_bits, act_bits, signed in ((8, 8, True), (4, 5, False), (2, 4, True)):
        net = make(weight_bits, act_bits, signed=signed)
        net = graph(*(
            replace(n, op=replace(n.op, requant=change(n.op.requant)))
            if hasattr(n.op, "requant") else n
            for n in net.nodes
        ))  # fmt: skip
        codes = make_inputs(net, samples=4)
        model = layout(net, get(TARGET), "net")
        assert compare_host(model, codes).result().mismatches == 0
        tally = on_device(model, codes)
        assert tally.mismatches == 0, tally.first


def test_the_family_serves_every_operator():
    for make in NETS:
        model = layout(make(4, 8, signed=False), get(TARGET), "net")
        for node in model.nodes:
            assert any(name.startswith("mve_") for name, _ in node.plan.helpers), node.node.name


def lone(make_node, weight_bits=5, shape=(6, 6, 64)):
    """A network of one layer with the largest codes everywhere."""
    make = Maker(0, weight_bits)
    x = input_node(shape, IntType(8, False))
    node = make_node(make, x)
    codes = np.full_like(node.op.weights.codes, (1 << weight_bits) - 1)
    weights = replace(node.op.weights, codes=codes)
    rule = make.requant(weights.values, x.output.type, node.output.type, 0)
    return graph(x, replace(node, op=replace(node.op, weights=weights, requant=rule)))


def test_a_byte_holds_codes_of_as_many_bits_as_proven_and_no_more(monkeypatch):
    net = lone(lambda make, x: make.conv("top", x, 8, IntType(8, False)))
    codes = make_inputs(net, samples=4)
    model = layout(net, get(TARGET), "net")
    assert "'fields': 1" in str([node.plan.helpers for node in model.nodes])
    assert compare_host(model, codes).result().mismatches == 0
    # one bit more than a half byte: the neighbour's code is spoilt
    monkeypatch.setattr(mve_packing.Scheme, "bits", property(lambda scheme: 4))
    monkeypatch.setattr(mve_packing, "field_counts", lambda bits: (2,))
    wrong = layout(net, get(TARGET), "net")
    assert "'fields': 2" in str([node.plan.helpers for node in wrong.nodes])
    assert twin_is_wrong(wrong, codes)
    assert on_device(wrong, codes).mismatches > 0


def test_codes_taken_apart_have_as_many_bits_as_proven_and_no_more(monkeypatch):
    net = lone(lambda make, x: make.conv("top", x, 8, IntType(8, False), kernel=(1, 1),
                                         pad=(0, 0, 0, 0)), 4, (16, 16, 32))  # fmt: skip
    codes = make_inputs(net, samples=4)
    model = layout(net, get(TARGET), "net")
    assert any("15 <= 15" in line and "mod 16" in line for line in model.nodes[-1].plan.proof)
    assert compare_host(model, codes).result().mismatches == 0
    assert on_device(model, codes).mismatches == 0
    # four codes of two bits where they have four
    monkeypatch.setattr(mve_packing, "field_counts", lambda bits: (4,))
    wrong = layout(net, get(TARGET), "net")
    assert "'fields': 4" in str([node.plan.helpers for node in wrong.nodes])
    assert twin_is_wrong(wrong, codes)
    assert on_device(wrong, codes).mismatches > 0


def test_results_are_narrowed_without_saturation_only_where_they_fit(monkeypatch):
    x, node = lone(lambda make, x: make.depthwise("wide", x, IntType(8, False), stride=(2, 2),
                                                  pad=(0, 0, 1, 1)), 8, (17, 17, 4)).nodes
    # 9 * 127 * 255 becomes 50003, which is negative as a half-word
    rule = node.op.requant
    rule = replace(rule, p=0, m=np.full_like(rule.m, 22487), s=np.full_like(rule.s, 17),
                   bias=np.zeros_like(rule.bias))  # fmt: skip
    net = graph(x, replace(node, op=replace(node.op, requant=rule)))
    codes = make_inputs(net, samples=4)
    model = layout(net, get(TARGET), "net")
    assert "'wide': True" in str([node.plan.helpers for node in model.nodes])
    assert not any("half-words" in line for line in model.nodes[-1].plan.proof)
    assert compare_host(model, codes).result().mismatches == 0
    assert on_device(model, codes).mismatches == 0
    monkeypatch.setattr(mve_plane, "HALF_MIN", -(1 << 31))
    monkeypatch.setattr(mve_plane, "HALF_MAX", 1 << 31)
    assert on_device(layout(net, get(TARGET), "net"), codes).mismatches > 0


def test_weights_of_a_plane_fit_signed_bytes(monkeypatch):
    net = lone(lambda make, x: make.depthwise("top", x, IntType(8, False)), weight_bits=8)
    codes = make_inputs(net, samples=4)
    assert compare_host(layout(net, get(TARGET), "net"), codes).result().mismatches == 0
    # one bit too far
    monkeypatch.setattr(mve_plane, "SMALLEST", -256)
    monkeypatch.setattr(mve_plane, "LARGEST", 255)
    op = net.nodes[-1].op
    doubled = replace(op.weights, step=2, offset=-255)
    wide = graph(net.nodes[0], replace(net.nodes[-1], op=replace(
        op, weights=doubled, requant=Maker(1, 8).requant(
            doubled.values, IntType(8, False), IntType(8, False), 0))))  # fmt: skip
    codes = make_inputs(wide, samples=4)
    assert twin_is_wrong(layout(wide, get(TARGET), "net"), codes)
    monkeypatch.undo()
    model = layout(wide, get(TARGET), "net")
    assert compare_host(model, codes).result().mismatches == 0
    assert on_device(model, codes).mismatches == 0


def test_proofs_are_printed():
    model = layout(dense(2, 8, signed=False), get(TARGET), "net")
    proofs = [line for node in model.nodes for line in node.plan.proof]
    assert any("4 codes of a byte: 3 <= 3" in line for line in proofs)
    planes_model = layout(planes(8, 8, signed=False), get(TARGET), "net")
    assert all(node.plan.proof for node in planes_model.nodes)
