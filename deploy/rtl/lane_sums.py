# SPDX-License-Identifier: Apache-2.0
"""How a layer's lanes multiply and add: which form, and what it is built of.

A form is the suffix of the module that does it: `DOT` (products, then a tree), `PAIRS` (products of
one bit, two a function), `PLANES` (sums by bits of the weights) or `DSP` (slices).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...hw_models import Fabric
from .design import Design
from .dsp import LANES, chosen
from .plan import RtlPlan
from .words import print_template

DOT, PAIRS, PLANES, DSP = "dot", "pairs", "planes", "dsp"


def summed_by(plan: RtlPlan, fabric: Fabric) -> str:
    """The form of a layer's products and their sums."""
    v = plan.values
    if v["paired"]:
        return PAIRS
    if chosen(plan, LANES):
        return DSP
    if not fabric.gated_cell or v["simd"] == 1:
        return DOT
    apart = v["simd"] * product_functions(v["act_bits"], v["weight_bits"], v["act_signed"])
    return PLANES if plane_luts(v) < apart + sum(tree_adders(v["simd"], v["product_bits"])) else DOT


def product_functions(given: int, bits: int, signed: bool) -> int:
    """Functions of four inputs and bits of adders of one product (`verilog/product.v.j2`)."""
    looked_up = {1: 2, 2: 4, 3: 9, 4: 12} if not signed else {}
    pair = looked_up.get(given, 3 * given + 1)
    pairs, rest = divmod(bits, 2)
    return pairs * pair + rest * given + sum(joins(given, [2] * pairs + [1] * rest))


def product_adders(given: int, bits: int, signed: bool) -> list[int]:
    """Bits of every adder of one product (`verilog/product.v.j2`)."""
    pairs, rest = divmod(bits, 2)
    # products of two by two bits are looked up
    rows = [] if given == 2 and not signed else [given if given == 4 and not signed else given + 1]
    found = rows * pairs
    if bits == 1:
        found.append(given + 1)
    return found + joins(given, [2] * pairs + [1] * rest)


def joins(low: int, parts: list[int]) -> list[int]:
    """Bits of the adders that join neighbours of so many weight bits, in a tree."""
    found = []
    while len(parts) > 1:
        found += [low + high for high in parts[1::2]]
        parts = [sum(parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return found


def tree_adders(terms: int, bits: int) -> list[int]:
    """Bits of every adder of a binary tree."""
    found = []
    while terms > 1:
        bits += 1
        found += [bits] * (terms // 2)
        terms = -(-terms // 2)
    return found


def plane_luts(v: Mapping[str, Any]) -> int:
    """LUTs of one dot product in planes (`verilog/planes.v.j2`), two in every carry cell."""
    terms: int = v["simd"]
    given: int = v["act_bits"]
    planes: int = v["weight_bits"]
    found = terms % 2 * planes * given
    # the highest field needs no spare bit
    spare = int(v["act_signed"])
    field = given + spare
    top = given
    while terms > 1:
        field, top = field + 1, top + 1
        found += terms // 2 * _cells(planes * field - spare)
        terms = -(-terms // 2)
    found += sum(_cells(bits) for bits in joins(top, [1] * planes))
    return found + (_cells(top + 1) if planes == 1 else 0)


def _cells(bits: int) -> int:
    """LUTs of a carry chain of so many bits."""
    return 2 * -(-bits // 2)


def chains(design: Design, fabric: Fabric) -> bool:
    """Whether any sum of a design is written in chains of the family's carry cells.

    Those are sums that synthesis would build from LUTs: short ones, and those of gated numbers.
    """
    return bool(fabric.gated_cell) and any(
        "paired" in module.plan.values and summed_by(module.plan, fabric) in (PAIRS, PLANES)
        for module in design.modules
    )


def cell_map(design: Design, fabric: Fabric) -> dict[str, str]:
    """File that turns gated sums into the family's carry cells, for yosys, by name.

    Empty where a design has none.
    """
    if not chains(design, fabric):
        return {}
    text = print_template(f"verilog/cells/{fabric.gated_cell}.v.j2", name=design.name)
    return {f"{design.name}_cells.v": text}
