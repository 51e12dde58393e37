# SPDX-License-Identifier: Apache-2.0
"""Requantisers whose product takes several DSP slices, with a register before their sum."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from adaqat.deploy import IntType
from adaqat.deploy.requant import Requant, snap
from adaqat.deploy.rtl.rescale import Rescale, plan_rescale
from adaqat.deploy.rtl.split_product import split_product
from adaqat.deploy.rtl.words import print_template, verilog_environment

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")


def case(reach: int, slopes: tuple[float, ...]) -> tuple[Rescale, Requant]:
    """A channel per slope, in output ranges per range of the accumulator."""
    out = IntType(8, True)
    ratios = np.array(slopes) * (out.hi - out.lo) / (2 * reach)
    low, high = np.full(len(slopes), -reach), np.full(len(slopes), reach)
    bias = np.linspace(-1.2, 1.3, len(slopes))
    rule = snap(ratios, bias, low, high, zero=3, lo=out.lo, hi=out.hi)
    return plan_rescale(rule, low, high, out, 1, len(slopes), deep=True), rule


def wrong(made: Rescale, rule: Requant, reach: int, folder, change=("", "")) -> int:
    """Codes of the emitted text, a beat every cycle, that are not the rule's."""
    v, channels = made.values, len(rule.m)
    rng = np.random.default_rng(reach)
    ends = np.array([-reach, 1 - reach, -1, 0, 1, reach - 1, reach] * channels)
    acc = np.concatenate([ends, rng.integers(-reach, reach + 1, 300 * channels)])
    acc = acc[: len(acc) // channels * channels]
    codes = rule.apply(acc.reshape(-1, channels)).reshape(-1)
    (folder / "acc.hex").write_text("\n".join(f"{a & ((1 << v['acc_bits']) - 1):x}" for a in acc))
    (folder / "codes.hex").write_text("\n".join(f"{c & 255:x}" for c in codes))
    macros = verilog_environment().get_template("verilog/_rescale.j2").make_module({})
    text = macros.module("net", "net", v)
    assert change[0] in text
    bench = f"""
module bench;
    reg clk = 1'b0;
    reg [{v["acc_bits"] - 1}:0] acc [0:{len(acc) - 1}];
    reg [7:0] codes [0:{len(acc) - 1}];
    integer at = -3, seen = 0, bad = 0;
    wire [7:0] code;
    wire code_valid;
    reg [{v["acc_bits"] - 1}:0] raw;
    net_rescale dut (.clk(clk), .rst(at < 0), .raw(raw), .raw_valid(at >= 0 && at < {len(acc)}),
                     .code(code), .code_valid(code_valid));
    initial begin
        $readmemh("acc.hex", acc);
        $readmemh("codes.hex", codes);
        repeat ({len(acc) + 40}) begin
            raw = acc[at < 0 ? 0 : at];
            #1 clk = 1'b1;
            #1 clk = 1'b0;
            if (code_valid) begin
                if (code !== codes[seen]) bad = bad + 1;
                seen = seen + 1;
            end
            at = at + 1;
        end
        $display("%0d %0d", seen, bad);
    end
endmodule
"""
    library = print_template("verilog/library.v.j2", name="net")
    product = print_template("verilog/product.v.j2", name="net")
    (folder / "bench.v").write_text(library + product + text.replace(*change) + bench)
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "bench.v"], cwd=folder, check=True)
    made_ = subprocess.run(["./bench"], cwd=folder, capture_output=True, text=True, check=True)
    seen, bad = map(int, made_.stdout.split())
    assert seen == len(acc)
    return bad


@icarus
@pytest.mark.parametrize("slopes", [(0.9,), (1.0, -0.7, 0.003), (1.0, 0.0, 40.0)], ids=str)
@pytest.mark.parametrize("reach", [100_000, 140_000, 3_000_000, (1 << 30) - 1])
def test_every_code_is_the_rules(reach, slopes, tmp_path):
    made, rule = case(reach, slopes)
    split = max(made.values["acc_bits"], made.values["m_bits"]) > 18
    assert made.values["split"] is split and made.latency == 5 + split
    assert wrong(made, rule, reach, tmp_path) == 0


@icarus
def test_a_part_one_place_off_is_found(tmp_path):
    made, rule = case(3_000_000, (0.9,))
    assert wrong(made, rule, 3_000_000, tmp_path, ("<< 17", "<< 16")) > 100


def test_parts_cover_an_operand_once():
    for bits in (2, 18, 19, 35, 36, 52):
        found = split_product(bits, 5, True)["acc_parts"]
        assert [part.start for part in found] == [17 * i for i in range(len(found))]
        assert sum(part.bits for part in found) == bits and found[-1].signed
        assert all(part.bits == 17 and not part.signed for part in found[:-1])
        assert len(found) == max(1, -(-(bits - 1) // 17))
    assert not split_product(40, 30, deep=False)["split"]
