# SPDX-License-Identifier: Apache-2.0
"""Kernels of Cortex-M0, M0+ and M3: exact on host and emulated core, proofs with counter-tests."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import numpy as np
import pytest
from nets import Maker, graph, input_node
from thumb_nets import NETS, TARGETS, one_layer, rule_for

from adaqat.deploy import IntType, simulate
from adaqat.deploy.emit import layout, sources
from adaqat.deploy.host import STRICT
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.requant import Requant
from adaqat.deploy.targets import get
from adaqat.deploy.types import IntArray
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host

PAIRS = [(w, a) for w in range(1, 9) for a in range(1, 9)]
FEW = [(8, 8), (7, 8), (6, 7), (5, 8), (4, 8), (3, 8), (2, 8), (1, 8), (4, 4), (3, 3), (2, 2),
       (1, 1), (8, 2), (2, 5)]


def on_device(net, target, codes, **options) -> Tally:
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    model = layout(net, get(target), "net")
    tally = Tally(model, target)
    with Device(model, target, **options) as device:
        tally.add(codes, device.trace(codes))
    return tally


@pytest.mark.thinned(4)
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), FEW)
def test_every_geometry_on_the_host(target, weight_bits, act_bits, turn):
    for number, make in enumerate(NETS.values()):
        signed = (weight_bits + act_bits + number) % 2 == 0
        extreme = (weight_bits + number // 2 + turn) % 2 == 0
        net = make(weight_bits, act_bits, signed=signed, extreme=extreme, seed=act_bits)
        model = layout(net, get(target), "net")
        tally = compare_host(model, make_inputs(net, samples=12, seed=weight_bits))
        assert tally.mismatches == 0, tally.first


@pytest.mark.thinned(2)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), FEW)
def test_every_geometry_on_the_core(target, weight_bits, act_bits, name):
    signed = (weight_bits + act_bits + (name == "convolutions")) % 2 == 0
    extreme = weight_bits % 2 == 0
    net = NETS[name](weight_bits, act_bits, signed=signed, extreme=extreme, seed=7)
    tally = on_device(net, target, make_inputs(net, samples=8, seed=1))
    assert tally.mismatches == 0, tally.first


@pytest.mark.sweep
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
    ("kind", "optimise"), [("zig", "-Os"), ("zig", "-O3"), ("gcc", "-Os"), ("gcc", "-O0")]
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
@pytest.mark.parametrize("kernel", [(7, 7), (5, 7), (4, 8), (3, 11), (33, 1), (1, 33)])
def test_depthwise_windows_of_many_taps(target, kernel):
    act = IntType(8, False)
    x = input_node((34, 35, 3), act)
    deep = Maker(1, 8).depthwise("deep", x, act, kernel=kernel, pad=(2, 3, 2, 3))
    net = graph(x, deep)
    assert on_device(net, target, make_inputs(net, samples=2)).mismatches == 0


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


def emitted(net, target, folder) -> list:
    vector: IntArray = make_inputs(net, samples=1)
    texts = sources(layout(net, get(target), "net"), (vector[0], simulate(net, vector)[0]))
    for name, text in texts.items():
        (folder / name).write_text(text)
    return sorted(folder.glob("*.c"))


@pytest.mark.thinned(2)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bits", [8, 3])
def test_strict_compilers_are_silent(target, bits, tmp_path):
    commands = [[c] for c in ("gcc", "clang") if shutil.which(c)]
    if shutil.which("arm-none-eabi-gcc"):
        commands.append(["arm-none-eabi-gcc", f"-mcpu={target}", "-mthumb"])
    if importlib.util.find_spec("ziglang"):
        # Clang holds the assembly to the length that C99 grants a string
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi"]
        commands.append([*zig, "-mcpu=" + target.replace("-", "_")])
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
