# SPDX-License-Identifier: Apache-2.0
"""Settings size and ram: the simulator's integers at all pairs of widths, strict flags, linking."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from nets import Maker, every_operator, graph, input_node

from adaqat.deploy import IntType, UsageError, build, simulate, verify
from adaqat.deploy.emit import layout, sources
from adaqat.deploy.host import STRICT
from adaqat.deploy.kernels import FAMILIES
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host

PAIRS = [(w, a) for w in range(1, 9) for a in range(1, 9)]
FEW = [(8, 8), (4, 8), (5, 7), (3, 3), (2, 2), (1, 1), (8, 1), (1, 8)]
SETTINGS = ("size", "ram")


def awkward(weight_bits: int, act_bits: int, *, signed: bool, extreme: bool = False, seed: int = 0):
    """Shapes for every branch of the compact kernels: tails, strides, uneven pads, few outputs."""
    make = Maker(seed, weight_bits, extreme=extreme)
    act = IntType(act_bits, signed)
    x = input_node((9, 8, 3), act)
    a = make.conv("a", x, 9, act, stride=(2, 1), pad=(0, 1, 1, 1))
    b = make.depthwise("b", a, act, kernel=(3, 3), pad=(1, 1, 1, 1))
    c = make.conv("c", b, 6, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    d = make.depthwise("d", c, act, kernel=(5, 2), stride=(1, 2), pad=(2, 0, 1, 1))
    e = make.conv("e", d, 6, act, kernel=(2, 3), dilation=(2, 1), pad=(1, 1, 1, 1))
    f = make.conv("f", e, 3, act, kernel=(1, 1), stride=(1, 2), pad=(0, 0, 0, 0))
    g = make.depthwise("g", f, act, kernel=(2, 2), pad=(0, 0, 1, 1))
    h = make.add("h", [g, f], act)
    return graph(x, a, b, c, d, e, f, g, h)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize(("weight_bits", "act_bits"), PAIRS)
def test_host_at_every_pair(weight_bits, act_bits, kind):
    signed, extreme = (weight_bits + act_bits) % 2 == 0, (weight_bits + act_bits) % 4 < 2
    target, setting, make = (
        ("cortex-m4", "size", every_operator),
        ("cortex-m4", "ram", awkward),
        ("cortex-m0plus", "size", awkward),
        ("cortex-m0plus", "ram", every_operator),
    )[kind]
    net = make(weight_bits, act_bits, signed=signed, extreme=extreme, seed=weight_bits)
    model = layout(net, get(target), "net", setting)
    result = compare_host(model, make_inputs(net, samples=16, seed=act_bits)).result()
    assert result.mismatches == 0, result.first_mismatch


@pytest.mark.thinned(2)
@pytest.mark.parametrize(("weight_bits", "act_bits"), FEW)
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m3"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_emulated(core, setting, weight_bits, act_bits):
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    for make, signed in ((every_operator, weight_bits == act_bits), (awkward, act_bits % 2 == 1)):
        net = make(weight_bits, act_bits, signed=signed, seed=3)
        model = layout(net, get(core), "net", setting)
        codes = make_inputs(net, samples=8, seed=2)
        tally = Tally(model, core)
        with Device(model, core) as device:
            tally.add(codes, device.trace(codes))
        assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize(
    ("kind", "optimise"), [("zig", "-O2"), ("gcc", "-Os"), ("gcc", "-O0"), ("gcc", "-O3")]
)
def test_other_compilers_and_levels(kind, optimise):
    pytest.importorskip("unicorn")
    if kind == "zig":
        pytest.importorskip("ziglang")
    from adaqat.deploy.device import Device
    from adaqat.deploy.toolchain import find_toolchain

    for bits in (8, 3):
        net = awkward(bits, 8, signed=False)
        model = layout(net, get("cortex-m4"), "net", "size")
        tally = Tally(model, "cortex-m4")
        codes = make_inputs(net, samples=6)
        options = {"toolchain": find_toolchain(kind), "optimise": optimise}
        with Device(model, "cortex-m4", **options) as device:
            tally.add(codes, device.trace(codes))
        assert tally.mismatches == 0, tally.first


def test_armv6m_never_accesses_unaligned():
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device
    from adaqat.deploy.emulate import emulate

    for setting in SETTINGS:
        net = awkward(8, 8, signed=False)
        model = layout(net, get("cortex-m0plus"), "net", setting)
        with Device(model, "cortex-m0plus") as device:
            codes = make_inputs(net, samples=1)
            image = device.image(tap=False)
            result = emulate(image, device.core, codes.tobytes(), "net_run", check_alignment=True)
        assert result.status == 0


def _texts(net, target, setting, name="net"):
    vector = make_inputs(net, samples=1, seed=1)
    return sources(layout(net, get(target), name, setting), (vector[0], simulate(net, vector)[0]))


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_strict_flags(compiler, setting, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    core = ["-mcpu=cortex-m4", "-mthumb"] if compiler.startswith("arm") else []
    for bits, signed in ((8, False), (8, True), (3, False)):
        for make in (every_operator, awkward):
            net = make(bits, 4, signed=signed)
            for name, text in _texts(net, "cortex-m4", setting).items():
                (tmp_path / name).write_text(text)
            done = subprocess.run(
                [compiler, *core, *STRICT, "-O2", "-c", "net.c", "-o", "net.o"],
                cwd=tmp_path, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr


def test_models_of_different_settings_in_one_image(tmp_path):
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no host compiler is installed")
    net = awkward(8, 8, signed=False)
    names = {"fast": "speed", "small": "size", "lean": "ram"}
    for name, setting in names.items():
        for file, text in _texts(net, "cortex-m4", setting, name).items():
            (tmp_path / file).write_text(text)
    calls = "".join(
        f"static {name}_ctx_t {name}_memory;\n" for name in names
    ) + "int main(void)\n{\n    return " + " || ".join(
        f"({name}_self_test(&{name}_memory) != 0)" for name in names
    ) + ";\n}\n"
    (tmp_path / "main.c").write_text("".join(f'#include "{n}.h"\n' for n in names) + calls)
    files = ["main.c", *(f"{n}{end}.c" for n in names for end in ("", "_self_test"))]
    subprocess.run([compiler, *STRICT, *files, "-o", "both"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "both"], check=False).returncode == 0


def test_the_same_model_gives_the_same_bytes(tmp_path):
    net = every_operator(8, 8, signed=False)
    for setting in ("speed", *SETTINGS):
        first = build(net, "cortex-m4", tmp_path / "a", optimise=setting)
        again = build(net, "cortex-m4", tmp_path / "b", optimise=setting)
        assert first.files == again.files
    plain = build(net, "cortex-m4", tmp_path / "a")
    assert plain.files == build(net, "cortex-m4", tmp_path / "b", optimise="speed").files


def test_nothing_is_predicted_and_the_setting_is_named():
    net = awkward(8, 8, signed=False)
    for setting in ("speed", *SETTINGS):
        report = verify(net, "cortex-m4", make_inputs(net, samples=3), optimise=setting)
        assert report.mismatches == 0
        assert report.to_json()["target"]["optimise"] == setting
        predicted = [k for k in report.totals if k.startswith("predicted")]
        assert predicted
        rows = [report.totals[key] for key in predicted]
        for node in report.nodes:
            rows += [node["predicted_instructions"], node["predicted_cycles"]]
        assert all((value is not None) == (setting == "speed") for value in rows)


def test_an_unknown_setting_is_refused():
    net = awkward(8, 8, signed=False)
    with pytest.raises(UsageError, match="'tiny' is unknown; known settings: speed, size, ram"):
        layout(net, get("c99"), "net", "tiny")


def test_constant_and_negative_channels():
    # channels without influence, and negative multipliers, are flags of the shift
    net = awkward(4, 8, signed=True)
    model = layout(net, get("cortex-m4"), "net", "size")
    shifts = [v for n in model.nodes for a in n.plan.arrays if a.name == "s" for v in a.values]
    assert any(64 <= v < 128 for v in shifts)
    result = compare_host(model, make_inputs(net, samples=16)).result()
    assert result.mismatches == 0


def test_every_flavour_covers_the_same_operators():
    kinds = [set(f.planners) for name, f in FAMILIES.items() if name.startswith("compact")]
    assert len(kinds) == 6
    assert all(one == kinds[0] for one in kinds)
    assert np.all([len(one) == 7 for one in kinds])
