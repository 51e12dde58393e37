# SPDX-License-Identifier: Apache-2.0
"""The DSP kernels: assembly on an emulated Cortex-M4 and the C twin on this machine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from dsp_nets import NETS, column, depthwise, one_channel, strides, sums, windows
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, simulate
from adaqat.deploy.emit import layout, sources
from adaqat.deploy.errors import ToolError
from adaqat.deploy.host import STRICT
from adaqat.deploy.kernels import dsp_packing
from adaqat.deploy.requant import AddRequant
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import Toolchain, find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host
from adaqat.hw_models.plane_form import PLANES_BYTES, plane_bands, plane_form

# one of every way to unpack weights, hold columns and length of a product group
PAIRS = [(8, 8), (8, 3), (7, 8), (6, 1), (5, 8), (5, 1), (4, 8), (4, 4), (4, 2), (4, 1), (3, 8),
         (3, 3), (3, 2), (2, 8), (2, 4), (2, 3), (2, 2), (1, 8), (1, 6), (1, 5), (1, 4), (1, 1)]


def inside(net, codes):
    """Share of output codes that are not at the ends of their range."""
    kept = simulate(net, codes, keep=True)
    shares = [
        np.mean((kept[n.name] > n.output.type.lo) & (kept[n.name] < n.output.type.hi))
        for n in net.nodes
        if n.op.weight_bits
    ]
    return float(np.mean(shares))


def on_device(net, target, codes, toolchain: Toolchain | None = None, optimise="-O2"):
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    model = layout(net, get(target), "net")
    tally = Tally(model, target)
    with Device(model, target, toolchain=toolchain, optimise=optimise) as device:
        tally.add(codes, device.trace(codes))
    return tally


# depthwise kernels depend on the weights alone, sums on neither
DEEP = [(8, 8), (7, 2), (6, 5), (5, 8), (4, 3), (3, 6), (2, 8), (1, 1)]
FEW = {depthwise: DEEP, windows: DEEP, strides: DEEP, column: DEEP,
       sums: [(8, 8), (4, 3), (1, 1)], one_channel: PAIRS[::2]}  # fmt: skip


@pytest.mark.thinned(2)
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize(
    ("make", "weight_bits", "act_bits"),
    [(make, *pair) for make in NETS for pair in FEW.get(make, PAIRS)],
)
def test_assembly_and_twin(make, weight_bits, act_bits, turn):
    hard = (weight_bits + act_bits // 2 + turn) % 2 == 1  # signed, weights at the ends
    net = make(weight_bits, act_bits, signed=hard, extreme=hard, seed=act_bits)
    codes = make_inputs(net, samples=12, seed=weight_bits)
    if act_bits > 2 and not hard:
        assert inside(net, codes) > 0.2
    host = compare_host(layout(net, get("cortex-m4"), "net"), codes).result()
    assert host.mismatches == 0, host.first_mismatch
    tally = on_device(net, "cortex-m4", codes)
    assert tally.mismatches == 0, tally.first


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    ("compiler", "optimise"),
    [("gcc", "-O2"), ("gcc", "-O3"), ("gcc", "-Os"), ("zig", "-O2"), ("zig", "-O3"),
     ("zig", "-Os")],
)
@pytest.mark.parametrize("make", NETS)
def test_compilers(make, compiler, optimise):
    try:
        toolchain = find_toolchain(compiler)
    except ToolError as error:
        pytest.skip(str(error))
    for weight_bits, act_bits, signed in ((8, 8, False), (4, 8, True), (2, 2, True)):
        net = make(weight_bits, act_bits, signed=signed)
        codes = make_inputs(net, samples=8)
        tally = on_device(net, "cortex-m4", codes, toolchain, optimise)
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("make", NETS)
def test_zig_compiles_for_size(make, tmp_path):
    pytest.importorskip("ziglang")
    model = layout(make(4, 8, signed=True), get("cortex-m4"), "net")
    codes = make_inputs(model.graph, samples=1)
    texts = sources(model, (codes[0], simulate(model.graph, codes)[0]))
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi",
               "-mcpu=cortex_m4", "-Os", *STRICT, "-c", "net.c", "-o", "net.o"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.thinned(2)
@pytest.mark.parametrize("core", ["cortex-m7", "cortex-m33"])
@pytest.mark.parametrize("make", NETS)
def test_other_cores(make, core):
    for weight_bits, act_bits in ((8, 8), (3, 5), (2, 2)):
        net = make(weight_bits, act_bits)
        tally = on_device(net, core, make_inputs(net, samples=8))
        assert tally.mismatches == 0, tally.first


def with_requant(net, change):
    """The network with every requantiser changed."""
    return graph(*(
        replace(n, op=replace(n.op, requant=change(n.op.requant)))
        if hasattr(n.op, "requant") else n
        for n in net.nodes
    ))  # fmt: skip


def constant_channels(rule):
    """Every third channel constant, as left by a channel that cannot move its output."""
    if isinstance(rule, AddRequant):
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


@pytest.mark.thinned(4)
@pytest.mark.parametrize("change", [constant_channels, fused_relu])
@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (4, 4), (2, 3)])
@pytest.mark.parametrize("turn", [0, 1])
def test_constants_per_channel_and_narrow_clamps(make, weight_bits, act_bits, change, turn):
    signed = (act_bits // 4 + (change is fused_relu) + turn) % 2 == 1
    net = with_requant(make(weight_bits, max(4, act_bits), signed=signed), change)
    codes = make_inputs(net, samples=8)
    host = compare_host(layout(net, get("cortex-m4"), "net"), codes).result()
    assert host.mismatches == 0, host.first_mismatch
    tally = on_device(net, "cortex-m4", codes)
    assert tally.mismatches == 0, tally.first


def top_weights(outputs=4):
    """A 3x3 convolution at 2-bit weights and 3-bit activations whose codes are all the largest."""
    make = Maker(0, 2)
    act = IntType(3, False)
    x = input_node((6, 6, 8), act)
    made = make.conv("top", x, outputs, act)
    weights = replace(made.op.weights, codes=np.full_like(made.op.weights.codes, 3))
    rule = make.requant(weights.values, act, act, 0)
    return graph(x, replace(made, op=replace(made.op, weights=weights, requant=rule)))


def test_product_groups_are_as_long_as_proven_and_no_longer(monkeypatch):
    net = top_weights()
    codes = make_inputs(net, samples=8)
    proven = dsp_packing.group_length
    assert proven(3, 7) == 3
    model = layout(net, get("cortex-m4"), "net")
    assert "product groups: 2 accumulations" in str([n.plan.proof for n in model.nodes])
    assert compare_host(model, codes).result().mismatches == 0
    # one more than proven: random inputs may pass, the largest do not
    monkeypatch.setattr(dsp_packing, "group_length", lambda code, act: proven(code, act) + 1)
    longer = layout(net, get("cortex-m4"), "net")
    assert on_device(net, "cortex-m4", codes).mismatches > 0
    assert compare_host(longer, codes).result().mismatches > 0


def test_strides_reach_every_form_of_four_planes():
    """Windows that start at each of four columns, several bands, a wide image in two planes."""
    text = str([node.plan for node in layout(strides(8, 8), get("cortex-m4"), "n").nodes])
    for split in (False, True):
        for odd in (False, True):
            assert f"'odd': {odd}, 'planes': 4, 'split': {split}" in text
    assert "gather_two" in text


@pytest.mark.parametrize("rows", range(2, 40))
@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 2, 1)])
def test_bands_cover_every_row_within_their_memory(rows, pad):
    height = 2 * rows + 1 - pad[0] - pad[2]
    form = plane_form((height, 30, 8), (3, 3), (2, 2), (1, 1), pad)
    bands = plane_bands(form, height, rows, 2, pad)
    computed = {band.output + row for band in bands.bands for row in range(bands.rows)}
    assert computed == set(range(rows))
    assert 2 * bands.halves <= PLANES_BYTES + 32
    for band in bands.bands:
        first = 2 * band.output - pad[0]
        seen = [y for y in range(first, first + 2 * bands.rows + 1) if 0 <= y < height]
        assert seen == list(range(band.image, band.image + band.rows))
        # the padding above the image is left free
        assert band.start == form.start + (band.image - first) * form.row_bytes // 2
