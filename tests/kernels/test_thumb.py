# SPDX-License-Identifier: Apache-2.0
"""Kernels of Cortex-M0, M0+ and M3: exact on host and emulated core, proofs with counter-tests."""

from __future__ import annotations

import dataclasses
import subprocess

import numpy as np
import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, simulate
from adaqat.deploy.emit import layout, sources
from adaqat.deploy.errors import ToolError
from adaqat.deploy.host import STRICT
from adaqat.deploy.kernels import thumb_conv, thumb_depthwise
from adaqat.deploy.kernels.thumb_choice import choose
from adaqat.deploy.kernels.thumb_forms import V6M, V7M, Fields, fields_form, lanes_forms
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
from adaqat.deploy.requant import Requant, snap
from adaqat.deploy.targets import get
from adaqat.deploy.types import IntArray
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host

TARGETS = ("cortex-m0plus", "cortex-m3")
PAIRS = [(w, a) for w in range(1, 9) for a in range(1, 9)]
FEW = [(8, 8), (7, 8), (6, 7), (5, 8), (4, 8), (3, 8), (2, 8), (1, 8), (4, 4), (3, 3), (2, 2),
       (1, 1), (8, 2), (2, 5)]


def convolutions(weight_bits, act_bits, *, signed, extreme=False, seed=0):
    """Every geometry in a chain: odd sizes and channels, strides, dilation, borders, few pixels."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((9, 11, 3), act, zero)
    first = make.conv("first", x, 10, act)
    wide = make.conv("wide", first, 9, act, kernel=(3, 2), pad=(2, 0, 0, 1))
    point = make.conv("point", wide, 8, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    step = make.conv("step", point, 17, act, stride=(2, 2), pad=(0, 0, 1, 1))
    holes = make.conv("holes", step, 4, act, dilation=(1, 2), pad=(0, 1, 1, 2))
    tall = make.conv("tall", holes, 3, act, kernel=(3, 1), pad=(1, 0, 1, 0), stride=(1, 2))
    last = make.conv("last", tall, 5, act, kernel=(2, 2), pad=(0, 0, 0, 0))
    few = make.conv("few", last, 2, act, kernel=(2, 1), stride=(2, 1), pad=(0, 0, 0, 0))
    flat = Node.make("flat", Reshape((few.output.size,)), (few,))
    row = make.linear("row", flat, 7, act)
    one = make.linear("one", row, 1, IntType(8, True))
    return graph(x, first, wide, point, step, holes, tall, last, few, flat, row, one)


def depthwises(weight_bits, act_bits, *, signed, extreme=False, seed=0):
    """Depthwise geometries, a wide linear layer and one with an even number of rows."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((11, 9, 5), act, zero)
    plain = make.depthwise("plain", x, act)
    step = make.depthwise("step", plain, act, stride=(2, 1), pad=(0, 1, 1, 1))
    even = make.depthwise("even", step, act, kernel=(2, 2), pad=(0, 0, 1, 1), multiplier=2)
    long = make.depthwise("long", even, act, kernel=(1, 5), pad=(0, 2, 0, 2))
    big = make.depthwise("big", long, act, kernel=(5, 4), pad=(2, 2, 2, 1), stride=(2, 2))
    line = make.depthwise("line", big, act, kernel=(3, 3), pad=(0, 1, 0, 1))
    flat = Node.make("flat", Reshape((line.output.size,)), (line,))
    wide = make.linear("wide", flat, 21, act)
    last = make.linear("last", wide, 8, act)
    return graph(x, plain, step, even, long, big, line, flat, wide, last)


NETS = {"convolutions": convolutions, "depthwises": depthwises}


def on_device(net, target, codes, **options) -> Tally:
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    model = layout(net, get(target), "net")
    tally = Tally(model, target)
    with Device(model, target, **options) as device:
        tally.add(codes, device.trace(codes))
    return tally


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), FEW)
def test_every_geometry_on_the_host(target, weight_bits, act_bits):
    for number, make in enumerate(NETS.values()):
        signed = (weight_bits + act_bits + number) % 2 == 0
        for extreme in (False, True):
            net = make(weight_bits, act_bits, signed=signed, extreme=extreme, seed=act_bits)
            model = layout(net, get(target), "net")
            tally = compare_host(model, make_inputs(net, samples=12, seed=weight_bits))
            assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), FEW)
def test_every_geometry_on_the_core(target, weight_bits, act_bits, name):
    signed = (weight_bits + act_bits + (name == "convolutions")) % 2 == 0
    extreme = weight_bits % 2 == 0
    net = NETS[name](weight_bits, act_bits, signed=signed, extreme=extreme, seed=7)
    tally = on_device(net, target, make_inputs(net, samples=8, seed=1))
    assert tally.mismatches == 0, tally.first


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), PAIRS)
def test_all_pairs_of_widths_on_the_core(target, weight_bits, act_bits):
    signed = weight_bits % 2 == 0
    for name in NETS:
        net = NETS[name](weight_bits, act_bits, signed=signed, extreme=act_bits % 2 == 0)
        tally = on_device(net, target, make_inputs(net, samples=8, seed=1))
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("kind", "optimise"), [("zig", "-O2"), ("zig", "-O3"), ("gcc", "-Os"), ("gcc", "-O0")]
)
def test_other_compilers_and_levels(target, kind, optimise):
    if kind == "zig":
        pytest.importorskip("ziglang")
    from adaqat.deploy.toolchain import find_toolchain

    for name, bits in (("convolutions", 3), ("depthwises", 8)):
        net = NETS[name](bits, 4, signed=False)
        options = {"toolchain": find_toolchain(kind), "optimise": optimise}
        tally = on_device(net, target, make_inputs(net, samples=6), **options)
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("name", NETS)
def test_armv6m_never_accesses_unaligned(name):
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device
    from adaqat.deploy.emulate import emulate

    for bits in (8, 4, 2):
        net = NETS[name](bits, bits, signed=False)
        model = layout(net, get("cortex-m0plus"), "net")
        codes = make_inputs(net, samples=1)
        with Device(model, "cortex-m0plus") as device:
            image = device.image(tap=False)
            result = emulate(image, device.core, codes.tobytes(), "net_run", check_alignment=True)
        assert result.status == 0


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_use_their_range(target):
    # wrong sums would hide behind clamps: the share of saturated outputs is far below 1
    for make in NETS.values():
        net = make(4, 8, signed=False)
        kept = simulate(net, make_inputs(net, samples=12, extremes=False), keep=True)
        for node in net.nodes:
            if node.op.weight_bits:
                code, type_ = kept[node.name], node.output.type
                saturated = np.mean((code == type_.lo) | (code == type_.hi))
                assert saturated < 0.9, (node.name, saturated)


def one_layer(op, shape, act):
    x = input_node(shape, act)
    return graph(x, Node.make("layer", op, (x,), scale=0.1, zero=0))


def rule_for(weights, act, *, sign=1):
    """Outputs of a layer spread over s8, whatever the weights."""
    low, high = accumulator_bounds(weights.values, act)
    ratio = np.full(len(low), sign * 240.0 / max(1, int((high - low).max())))
    return snap(ratio, -ratio * (low + high) / 2, low, high, zero=-3, lo=-128, hi=127)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear"])
def test_worst_weights(target, kind):
    # all end codes, also two -128 in one group, with activations at the ends
    window = Window((3, 3), pad=(1, 1, 1, 1))
    for bits in (8, 7, 4, 2):
        for fill in (0, (1 << bits) - 1):
            act = IntType(8, False)
            shape = {"conv": (6, 3, 3, 8), "depthwise": (8, 3, 3, 1), "linear": (6, 128)}[kind]
            codes = np.full(shape, fill, np.uint8)
            weights = Weights(codes, bits, 1, -(1 << (bits - 1)))
            rule = rule_for(weights, act)
            made = {"conv": Conv2d, "depthwise": DepthwiseConv2d, "linear": Linear}[kind]
            geometry = () if kind == "linear" else (window,)
            op = made(weights, rule, IntType(8, True), *geometry)
            net = one_layer(op, (128,) if kind == "linear" else (5, 6, 8), act)
            codes = make_inputs(net, samples=8)
            tally = on_device(net, target, codes)
            assert tally.mismatches == 0, (bits, fill, tally.first)
            host = compare_host(layout(net, get(target), "net"), codes)
            assert host.mismatches == 0, host.first


@pytest.mark.parametrize("target", TARGETS)
def test_constant_channels_and_signed_multipliers(target):
    act = IntType(8, False)
    make = Maker(3, 8)
    codes = make.rng.integers(0, 256, (9, 3, 3, 4)).astype(np.uint8)
    weights = Weights(codes, 8, 1, -128)
    rule = rule_for(weights, act)
    sign = np.where(np.arange(9) % 3 == 0, -1, 1)
    constant = np.arange(9) % 4 == 1
    rule = Requant(
        rule.p, np.where(constant, 0, rule.bias), np.where(constant, 0, rule.m * sign), rule.s,
        np.where(constant, 90 - 40 * np.arange(9), rule.z).clip(-128, 127), rule.lo, rule.hi,
    )  # fmt: skip
    net = one_layer(Conv2d(weights, rule, IntType(8, True), Window((3, 3))), (7, 7, 4), act)
    tally = on_device(net, target, make_inputs(net, samples=8))
    assert tally.mismatches == 0, tally.first


def worst_layer(form_of, bits, act_bits, core):
    """A convolution whose sums reach the bound of its form, and a plan that ignores the proof."""
    act = IntType(act_bits, False)
    codes = np.full((4, 1, 1, 256), (1 << bits) - 1, np.uint8)
    weights = Weights(codes, bits, 1, -(1 << (bits - 1)))
    op = Conv2d(weights, rule_for(weights, act), IntType(8, True), Window((1, 1)))
    net = one_layer(op, (2, 4, 256), act)
    source, output = net.input_node.output, net.output_node.output
    form = form_of(core, weights, act)
    return net, thumb_conv.conv_plan(core, form, op, source, output, 256, True)


def host_mismatches(net, target, plan, monkeypatch) -> int:
    """Differences on the host when the layer is emitted from the given plan."""
    from adaqat.deploy.kernels import FAMILIES

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
        form = fields_form(core, weights, act, span)
        assert form is not None and form.block <= form.limit
        return form

    def too_long(core, weights, act) -> Fields:
        form = allowed(core, weights, act)
        return dataclasses.replace(form, words=form.limit // form.fields + 1)

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
    assert thumb_depthwise.best_group(weights, act, 9) == (2, 127)
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
        form = choose(core, weights, IntType(act_bits, False), depth, depth)
        return form.cost(core, depth)

    for depth in (32, 64, 144):
        table = np.array([[cost(w, a, depth) for a in range(1, 9)] for w in range(1, 9)])
        assert (table[1:] >= table[:-1] * 0.98).all()
        assert (table[:, 1:] >= table[:, :-1] * 0.98).all()


def emitted(net, target, folder) -> list:
    vector: IntArray = make_inputs(net, samples=1)
    texts = sources(layout(net, get(target), "net"), (vector[0], simulate(net, vector)[0]))
    for name, text in texts.items():
        (folder / name).write_text(text)
    return sorted(folder.glob("*.c"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bits", [8, 3])
def test_strict_compilers_are_silent(target, bits, tmp_path):
    import shutil

    commands = [[c] for c in ("gcc", "clang") if shutil.which(c)]
    if shutil.which("arm-none-eabi-gcc"):
        commands.append(["arm-none-eabi-gcc", f"-mcpu={target}", "-mthumb"])
    for name, make in NETS.items():
        folder = tmp_path / name
        folder.mkdir()
        for unit in emitted(make(bits, bits, signed=bits == 3), target, folder):
            for command in commands:
                line = [*command, *STRICT, "-ffreestanding", "-O2", "-c", str(unit)]
                done = subprocess.run(
                    [*line, "-o", "/dev/null"], capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr[:2000]


def test_proofs_are_printed(tmp_path):
    net = convolutions(4, 8, signed=False)
    text = "".join(unit.read_text() for unit in emitted(net, "cortex-m0plus", tmp_path))
    assert "61200 <= 65535" in text


def test_no_undefined_behaviour(tmp_path):
    for target in TARGETS:
        for name, make in NETS.items():
            folder = tmp_path / f"{target}{name}"
            folder.mkdir()
            units = emitted(make(8, 8, signed=True, extreme=True), target, folder)
            main = folder / "main.c"
            main.write_text('#include "net.h"\nstatic net_ctx_t c;\n'
                            "int main(void) { return -net_self_test(&c); }\n")  # fmt: skip
            program = folder / "main"
            subprocess.run(
                ["cc", "-std=c99", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover",
                 *map(str, units), str(main), "-o", str(program)], check=True,
            )  # fmt: skip
            assert subprocess.run([str(program)], check=False).returncode == 0
