# SPDX-License-Identifier: Apache-2.0
"""Carry chains of a module, counted: on some families the ends of each take cells by themselves.

nextpnr brings ECP5's carry into a chain and out of it through a carry cell of its own at either
end, also where what comes in is a constant and what leaves is not read: four cells a chain,
whatever its length. That is as much as the sum itself where many lanes add few bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...hw_models import Fabric
from .adder_graph import chained
from .dsp import LANES, chosen
from .lane_sums import DOT, PAIRS, PLANES, joins, product_adders, summed_by, tree_adders
from .plan import RtlPlan


def chain_count(plan: RtlPlan, fabric: Fabric) -> int:
    """Chains of a module that grow in number with its lanes; those of its control do not.

    Requantisers are left to their prices per bit: they do not become more with a layer's lanes.
    """
    v = plan.values
    if v.get("combine") == "graph":
        constant = v["rescale"]["form"] == "constant"
        return int(v["chains"] + (v["rescale"]["chains"] if constant else 0))
    if v.get("combine") not in ("mac", "sum", "max"):
        return 0
    results: int = v["pe"]
    found = results * chained([v["acc_bits"]])
    return found + results * _lane_chains(plan, fabric) if v["combine"] == "mac" else found


def _lane_chains(plan: RtlPlan, fabric: Fabric) -> int:
    """Chains of one result's products and their sum."""
    v = plan.values
    terms: int = v["simd"]
    form = summed_by(plan, fabric)
    if form == PLANES:
        return _plane_chains(v)
    if form == PAIRS:
        # written in carry cells where the family has them, however short
        sums = [
            level + 2 for level in range(2, v["tree"] + 1)
            for _ in range(1 << v["tree"] - level)
        ]  # fmt: skip
        return len(sums) if fabric.gated_cell else chained(sums)
    found = chained(tree_adders(terms, v["product_bits"]))
    if form == DOT and not chosen(plan, LANES):
        adders = product_adders(v["act_bits"], v["weight_bits"], v["act_signed"])
        found += terms * chained(adders)
    return found


def _plane_chains(v: Mapping[str, Any]) -> int:
    """Chains of one dot product in planes (`verilog/planes.v.j2`): short ones are cells, too."""
    terms: int = v["simd"]
    planes: int = v["weight_bits"]
    top: int = v["act_bits"] + (terms - 1).bit_length()
    return terms - 1 + chained(joins(top, [1] * planes) or [top + 1])
