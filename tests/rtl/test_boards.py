# SPDX-License-Identifier: Apache-2.0
"""Projects for boards: pins, the serial line in simulation, messages, place and route."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from circuit_cases import simulator
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UsageError, build
from adaqat.deploy.artefact import add_file
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.rtl import route
from adaqat.deploy.rtl.board import check_circuit_board
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.report import circuit_report
from adaqat.deploy.rtl.tools import call, verilator
from adaqat.deploy.targets import get
from adaqat.hw_models import HwModelError, fpga_board_names, load_fabric, load_fpga_board

icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None or shutil.which("make") is None,
    reason="iverilog or make is not installed",
)
BOARDS = fpga_board_names()


def small():
    """Beats of two bytes in and out."""
    make = Maker(5, 3)
    x = input_node((4, 4, 3), IntType(3, False))
    conv = make.conv("conv", x, 4, IntType(3, False), stride=(2, 2))
    flat = Node.make("flat", Reshape((conv.output.size,)), (conv,))
    return graph(x, conv, flat, make.linear("fc", flat, 4, IntType(6, True)))


def emitted(board: str, out):
    target = load_fpga_board(board).target
    goals = Goals.parse([], get(target), board=board)
    return build(small(), target, out, name="tiny", goals=goals)


def sim(folder):
    return subprocess.run(["make", "-C", folder, "sim-board"], capture_output=True, text=True)


@icarus
def test_frames_over_the_serial_line_give_the_simulator_s_bytes(tmp_path):
    out = tmp_path / "out"
    artefact = emitted("icebreaker", out)
    assert {"tiny_board.v", "tiny_board_tb.v", "tiny_board.pcf"} <= set(artefact.files)
    done = sim(out)
    assert done.returncode == 0 and "PASS: 2 frames" in done.stdout, done.stdout + done.stderr
    # one wrong byte is found, and the wrong sign of one weight
    for file, line, mask in (("tiny_board_expected.hex", 0, 1), ("tiny_n1_fc_weights.hex", 3, 4)):
        right = (out / file).read_text()
        lines = right.splitlines()
        lines[line] = f"{lines[line][:-1]}{int(lines[line][-1], 16) ^ mask:x}"
        (out / file).write_text("\n".join(lines) + "\n")
        done = sim(out)
        assert done.returncode != 0 and "FAIL" in done.stdout, file
        (out / file).write_text(right)


@simulator
def test_lint_finds_nothing_on_any_board(tmp_path):
    tool = verilator()
    for board in ("icebreaker", "ulx3s-85f", "tang-nano-9k"):
        out = tmp_path / board
        emitted(board, out)
        call(
            [tool.command, "--lint-only", "-Wall", "--top-module", "tiny_board", "tiny.v",
             "tiny_board.v"],
            "lint", tool.environment, out,
        )  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_pins_for_every_port(name, tmp_path):
    board = load_fpga_board(name)
    assert board.target in ("fpga-ecp5", "fpga-gowin", "fpga-ice40")
    assert set(board.pins) == {"clk", "rx", "tx", "reset", "lost"}
    sites = [pin.site for pin in (*board.pins.values(), *board.high)]
    assert len(set(sites)) == len(sites)
    # the line's clock is within half a percent of the host's
    assert abs(board.clock_mhz * 1e6 / board.divide - board.baud) < 0.005 * board.baud
    assert all(source.startswith("https://") for source in board.sources)
    emitted(name, tmp_path / "out")
    ports = (tmp_path / "out" / "tiny_board.v").read_text().split("module tiny_board ")[1]
    pins = (tmp_path / "out" / f"tiny_board.{board.constraints}").read_text()
    for port in (*board.pins, *(f"high{i}" for i in range(len(board.high)))):
        assert f" {port}" in ports and (f" {port} " in pins or f'"{port}"' in pins)
    assert "make bit" in (tmp_path / "out" / "README.md").read_text()


def test_a_board_sets_the_clock():
    goals = Goals.parse(["frames_per_second=500"], get("fpga-ice40"), board="icebreaker")
    assert (goals.clock_mhz, goals.interval, goals.board) == (12, 24_000, "icebreaker")
    with pytest.raises(UsageError, match="clock_mhz: the board icebreaker has its own clock"):
        Goals.parse(["clock_mhz=30"], get("fpga-ice40"), board="icebreaker")


def test_boards_of_other_families_and_unknown_ones_are_refused():
    with pytest.raises(UsageError, match=r"--board icebreaker: holds a device of fpga-ice40"):
        check_circuit_board(get("fpga-ecp5"), "icebreaker")
    with pytest.raises(HwModelError, match="known are icebreaker"):
        check_circuit_board(get("fpga-ecp5"), "arty")
    with pytest.raises(UsageError, match=r"needs the pins of a board.*tang-nano-9k"):
        route.check_route(load_fabric("fpga-gowin"), False)


def test_a_folder_with_a_bitstream_is_still_ours(tmp_path):
    """What place and route adds is listed, so that the folder can be emitted anew."""
    out = tmp_path / "out"
    emitted("icebreaker", out)
    (out / "tiny_board.bin").write_bytes(b"bits")
    with pytest.raises(UsageError, match="holds files"):
        emitted("icebreaker", out)
    add_file(out, "tiny_board.bin")
    emitted("icebreaker", out)
    assert not (out / "tiny_board.bin").exists()


@pytest.mark.sweep
@pytest.mark.parametrize("name", BOARDS)
def test_the_project_routes_with_its_pins(name, tmp_path):
    target = load_fpga_board(name).target
    pytest.importorskip(f"yowasp_{load_fabric(target).router.replace('-', '_')}")
    circuit = plan_circuit(small(), get(target), "tiny", Goals.parse([], get(target), board=name))
    report = circuit_report(circuit)
    route.add_route(report, circuit, tmp_path, seeds=(1,))
    bits = tmp_path / report.totals["route"]["bitstream"]
    assert bits.stat().st_size > 10_000
    assert report.totals["fmax_mhz"] > load_fpga_board(name).clock_mhz
    print(json.dumps(report.totals))
