# SPDX-License-Identifier: Apache-2.0
"""Operators that move, look up and multiply codes, and branches that wait: circuit = simulator."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from circuit_cases import random_folds, simulator
from moving_nets import moving
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, build
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.emit import verilog
from adaqat.deploy.rtl.gather import plan_gather
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.project import project
from adaqat.deploy.rtl.schedule import key, least_queue, schedule
from adaqat.deploy.rtl.simulation import RtlModel, sources
from adaqat.deploy.rtl.tools import call, verilator
from adaqat.deploy.rtl.verification import Comparing, verify_circuit
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")


def flip(text: str, line: int) -> str:
    """A memory file with one bit of a word changed."""
    lines = text.splitlines()
    lines[line] = f"{lines[line][:-1]}{int(lines[line][-1], 16) ^ 1:x}"
    return "\n".join(lines) + "\n"


@simulator
def test_every_integer_every_cycle_and_a_wrong_entry(tmp_path):
    net = moving(3, signed=True, seed=3)
    circuit = plan_circuit(net, get("fpga"), "net", folds=random_folds(net, 3))
    codes = make_inputs(net, samples=16)
    with RtlModel(circuit.design) as model:
        tally = Comparing(circuit)
        for seed, stalls in enumerate([(0, 0), (60, 0), (0, 60), (45, 45)]):
            recorded = model.run(codes, stalls=stalls, seed=seed)
            tally.add(codes, recorded)
            if not seed:
                assert recorded.ends[:4] == circuit.schedule.ends
        assert tally.mismatches == 0, tally.first
        tables = sorted(model.folder.glob("*entries*.hex"))
        assert {file.name.split("_")[2] for file in tables} == {"normal", "curve"}
        for file in tables:
            right = file.read_text()
            file.write_text(flip(right, 3))
            wrong = Comparing(circuit)
            wrong.add(codes, model.run(codes))
            file.write_text(right)
            assert wrong.mismatches > 0
            assert wrong.first is not None and wrong.first["node"] in file.name
    for name, text in sources(circuit.design).items():
        (tmp_path / name).write_text(text)
    tool = verilator()
    call([tool.command, "--lint-only", "-Wall", "--top-module", "net", "net.v"], "lint",
         tool.environment, tmp_path)  # fmt: skip


@simulator
@pytest.mark.sweep
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_width(bits):
    net = moving(bits, signed=bits % 2 == 0, seed=bits)
    circuit = plan_circuit(net, get("fpga"), "net", folds=random_folds(net, bits))
    report = verify_circuit(circuit, make_inputs(net, samples=12))
    assert report.mismatches == 0, report.verify[0]["first_mismatch"]


@icarus
@pytest.mark.sweep
def test_the_emitted_bench_in_icarus(tmp_path):
    build(moving(4, signed=False, seed=1), "fpga-ice40", tmp_path / "out", name="tiny")
    done = subprocess.run(["make", "-C", tmp_path / "out", "sim"], capture_output=True, text=True)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout + done.stderr


def waiting_branch():
    """A branch without layers that waits for one with a window."""
    act = IntType(3, False)
    x = input_node((5, 5, 2), act)
    layer = Maker(1, 2).conv("conv", x, 2, act)
    conv = Node.make("conv", layer.op, (x,), scale=x.output.scale, zero=x.output.zero)
    return graph(x, conv, Node.make("cat", Concat(), (conv, x)))


@icarus
def test_the_short_branch_of_a_concat_waits_and_one_beat_less_never_ends(tmp_path):
    circuit = plan_circuit(waiting_branch(), get("fpga"), "net", folds={})
    deepest = max(circuit.design.edges, key=lambda edge: edge.queue)
    assert (deepest.source, deepest.target) == ("input", "cat")
    least = least_queue(circuit.design, key(deepest))
    assert 1 < least <= deepest.queue
    texts = project(circuit)
    for depth, ends in ((least, True), (least - 1, False)):
        design = circuit.design.with_queues({key(deepest): depth})
        assert (schedule(design, 2) is not None) == ends
        texts["net.v"] = verilog(design)
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        subprocess.run(["iverilog", "-g2005", "-o", "bench", "net_tb.v", "net.v"],
                       cwd=tmp_path, check=True)  # fmt: skip
        out = subprocess.run(["vvp", "-n", "bench"], cwd=tmp_path, capture_output=True, text=True)
        assert ("nothing moves" in out.stdout) != ends, out.stdout


def test_depths_are_the_least_that_never_slow_the_circuit():
    """A bound that could be smaller would be memory for nothing."""
    circuit = plan_circuit(waiting_branch(), get("fpga"), "net", folds={})
    for edge in circuit.design.edges:
        if edge.queue > 2:
            assert circuit.schedule.waiting[key(edge)] == edge.queue


@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 0, 1), (1, 0, 2), (0, 1, 2), (2, 1, 0)])
def test_loops_of_a_transposition_read_its_order(axes):
    """The steps of the read address, followed as the hardware does, against NumPy."""
    shape = (3, 2, 4)
    x = input_node(shape, IntType(8, False))
    node = Node.make("turned", Transpose(axes), (x,))
    plan = node.op.rtl_plan([x.output], node.output, Fold(2))
    values, lanes = plan.values, plan.output.lanes
    order = np.arange(x.output.size).reshape(shape).transpose(axes).reshape(-1)[::lanes] // lanes
    assert read_order(values, len(order)) == order.tolist()


def read_order(values, count):
    """Beats that a gather reads, from its printed steps; the ring is followed without its end."""
    turns, at, found = [0] * len(values["loops"]), 0, []
    for _ in range(count):
        found.append(at)
        for i, (size, _, forward) in enumerate(values["loops"]):
            turns[i], step = (turns[i] + 1) % size, forward
            if turns[i]:
                break
        else:
            step = values["next_block"]
        # a step of more than a block is one back
        at += step - values["capacity"] if step > values["block"] else step
    return found


def test_a_repeated_block_is_read_several_times():
    made = plan_gather(6, 3, [(3, 1), (2, 0)])
    assert read_order(made.values, 12) == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
    assert made.timing.need == (3,) * 6 + (6,) * 6
    assert made.timing.release == (0,) * 5 + (3,) * 6 + (6,)


def test_a_factor_that_is_no_whole_number_is_refused():
    x = input_node((4, 4, 2), IntType(4, False))
    net = graph(x, Node.make("larger", UpsampleNearest((6, 8)), (x,)))
    with pytest.raises(UnsupportedError, match=r"larger: upsample_nearest: 4x4 to 6x8; whole"):
        lay_out(net, get("fpga"), "net", {})


def test_only_smaller_tensors_are_repeated():
    net = moving(4, signed=True)
    design = lay_out(net, get("fpga"), "net", {})
    repeats = {edge.target: edge.repeat for edge in design.edges if edge.repeat}
    assert set(repeats) == {"excite", "masked"}
    assert repeats["excite"].values["block"] == 6 and repeats["masked"].values["block"] == 1
