# SPDX-License-Identifier: Apache-2.0
"""Products of lanes and sums of one-bit ones, exhaustively: every operand, width and sign."""

from __future__ import annotations

import re
import shutil

import pytest
from rtl_modules import shown

from adaqat.deploy.rtl.words import print_template

pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog is not installed"
)

WIDTHS = [(signed, x, w) for signed in (0, 1) for x in range(1, 9) for w in range(1, 10)]
"""A weight has a ninth bit where a 1 was put below 8 stored ones."""


def wrong(text: str, folder, widths=WIDTHS) -> list[str]:
    """What was found unequal to Verilog's own operator: signedness, bits of x, bits of w, count."""
    wires, loops = [], []
    for k, (signed, x, w) in enumerate(widths):
        given = f"$signed(x{k})" if signed else f"$signed({{1'b0, x{k}}})"
        wires.append(
            f"reg [{x - 1}:0] x{k}; reg [{w - 1}:0] w{k}; wire signed [{x + w - 1}:0] y{k};"
            f" wire signed [31:0] is{k} = y{k}; wire signed [31:0] right{k} = {given} *"
            f" $signed(w{k}); net_product #(.GIVEN({x}), .SIGNED({signed}), .WBITS({w}))"
            f" of{k} (.x(x{k}), .w(w{k}), .y(y{k}));"
        )
        loops.append(
            f"bad = 0; for (i = 0; i < {1 << x}; i = i + 1) for (j = 0; j < {1 << w}; j = j + 1)"
            f" begin x{k} = i; w{k} = j; #1 if (is{k} !== right{k}) bad = bad + 1; end"
            f' if (bad != 0) $display("{signed} {x} {w} %0d", bad);'
        )
    return shown(text, ["module bench;", "integer i, j, bad;", *wires], loops, folder)


def test_every_product_of_every_width_is_exact(tmp_path):
    assert wrong(print_template("verilog/product.v.j2", name="net"), tmp_path) == []


def test_the_comparison_finds_one_wrong_digit(tmp_path):
    text = print_template("verilog/product.v.j2", name="net")
    # 3 * 3 of two unsigned digits, which only 2 and 4 unsigned bits look up
    broken = text.replace("64'h9630642032100000", "64'h8630642032100000")
    assert broken != text
    few = [(signed, x, w) for signed, x, w in WIDTHS if x <= 4]
    found = {tuple(int(n) for n in line.split()[:3]) for line in wrong(broken, tmp_path, few)}
    assert found == {(0, x, w) for x in (2, 4) for w in range(3, 10)}


def wrong_sums(text: str, folder, cases) -> list[str]:
    """(terms, signedness) whose sums of one-bit products are not equal for all operands."""
    parts = ["module bench;", "reg clk = 0; integer i, j, k, bad, right;"]
    loops = []
    for n, signed in cases:
        levels, tag = (n - 1).bit_length(), f"{n}_{signed}"
        parts.append(
            f"reg [{n - 1}:0] x{tag}, w{tag}; wire signed [{levels + 1}:0] y{tag};"
            f" wire signed [31:0] is{tag} = y{tag};"
            f" net_pairs #(.N({n}), .LEVELS({levels}), .SIGNED({signed})) of{tag}"
            f" (.clk(clk), .x(x{tag}), .w(w{tag}), .sum(y{tag}));"
        )
        clocks = " ".join(["#1 clk = 1; #1 clk = 0;"] * (levels + 1))
        loops.append(
            f"bad = 0; for (i = 0; i < {1 << n}; i = i + 1) for (j = 0; j < {1 << n}; j = j + 1)"
            f" begin x{tag} = i; w{tag} = j; {clocks} right = 0; for (k = 0; k < {n}; k = k + 1)"
            f" if (i[k]) right = right + (j[k] ? -1 : 1) * {-1 if signed else 1};"
            f" if (is{tag} !== right) bad = bad + 1; end"
            f' if (bad != 0) $display("{n} {signed} %0d", bad);'
        )
    return shown(text, parts, loops, folder)


SUMS = [(n, signed) for n in range(2, 8) for signed in (0, 1)]


def test_sums_of_one_bit_products_are_exact_after_their_cycles(tmp_path):
    # terms that fill the tree, leave one over, and leave whole branches empty
    text = print_template("verilog/pairs.v.j2", name="net", chained=False)
    assert wrong_sums(text, tmp_path, SUMS) == []


def test_sums_of_one_bit_products_in_chains_are_exact(tmp_path):
    text = "`define ADAQAT_CELLS\n" + "".join(
        print_template(f"verilog/{t}.v.j2", name="net", chained=True) for t in ("gated", "pairs")
    )
    assert wrong_sums(text, tmp_path, SUMS) == []


def test_the_comparison_finds_one_wrong_pair(tmp_path):
    text = print_template("verilog/pairs.v.j2", name="net", chained=False)
    found = re.search(r"PLAIN = 64'h(\w+);", text)
    assert found is not None
    # both products 1
    digit = found[1][15 - 0b1010]
    broken = text.replace(found[1], found[1][:5] + ("0" if digit != "0" else "1") + found[1][6:])
    wrong = {tuple(int(n) for n in line.split()[:2]) for line in wrong_sums(broken, tmp_path, SUMS)}
    assert wrong == {(n, 0) for n in range(2, 8)}
