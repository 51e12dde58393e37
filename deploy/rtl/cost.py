# SPDX-License-Identifier: Apache-2.0
"""What a module is made of: counts that a family's measured prices turn into LUTs and flip-flops.

Block memories and DSP slices are counted here, not fitted: they follow from sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from ...hw_models import Fabric
from .carry_chains import chain_count
from .design import Design, Edge
from .dsp import LANES, RESCALE, SUMS, chosen, slices
from .lane_sums import PLANES, plane_luts, product_functions, summed_by, tree_adders
from .plan import RtlPlan, bits_for

FEATURES = (
    "module", "counter", "mux", "lane", "operand", "product", "tree", "plane", "accumulator",
    "waiting", "rescale_product", "rescale_sum", "serial", "threshold", "table", "weights",
    "queue", "held", "ring", "add_product", "stream", "link",
)  # fmt: skip
"""Names of all features; each has a price in LUTs and in flip-flops."""
LOGIC, BLOCK = "logic", "block"
"""What a constant memory is told to become, or nothing: then synthesis decides by its size."""
HELD_BITS = 64
"""Memories that are written become registers up to this size: synthesis finds a block too dear."""


@dataclass(frozen=True)
class Resources:
    """What a circuit or a part of it takes."""

    lut: float = 0.0
    ff: float = 0.0
    dsp: int = 0
    bram: int = 0

    def __add__(self, other: Resources) -> Resources:
        """Together."""
        return Resources(
            self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, self.bram + other.bram
        )


def features(plan: RtlPlan, fabric: Fabric) -> dict[str, float]:
    """Counts of a module by feature, each in bits, products of bits, or modules.

    Products in DSP slices are no LUTs.
    """
    v = plan.values
    found = dict.fromkeys(FEATURES, 0.0)
    found["module"] = 1.0
    found["stream"] = sum(port.width for port in plan.inputs) + plan.output.width
    found["queue"] = _queue(plan.output.width, queue_words(v))
    if v.get("rescale"):
        _rescale(found, v["rescale"], fabric)
    found["counter"] += v.get("counters", 0)
    if plan.template == "lookup":
        found["table"] += sum(
            rom.bits for rom in plan.roms if v["rom_style"] == LOGIC or _small(rom.bits, fabric)
        )
    if plan.template == "mul":
        found["rescale_product"] += v["lanes"] * v["wide"][0] * v["wide"][1]
    if plan.template == "add" and v["form"] == "serial":
        found["serial"] += v["lanes"] * (2 * v["both_bits"] + v["p_bits"])
    elif plan.template == "add":
        for bits, m_bits in zip(v["in_bits"], v["m_bits"], strict=True):
            found["add_product"] += v["lanes"] * bits * m_bits
        found["rescale_sum"] += v["lanes"] * v["sum_bits"] * len(v["m"])
    if "capacity" in v:
        bits = plan.inputs[0].width * (v["capacity"] << v["word_bits"])
        if bits <= HELD_BITS:
            found["held"] = v.get("copies", 1) * bits
        elif bits <= fabric.lut_ram_bits:
            found["ring"] = v.get("copies", 1) * bits
    if "combine" in v:
        _window(found, plan, fabric)
    for kind, name in ((LANES, "product"), (RESCALE, "rescale_product"), (SUMS, "add_product")):
        if chosen(plan, kind):
            found[name] = 0.0
    return found


def _window(found: dict[str, float], plan: RtlPlan, fabric: Fabric) -> None:
    v = plan.values
    if "spare_bits" in v:
        found["counter"] += _counters(v)
    if v["combine"] == "graph":
        # adders and the window's registers are counted one by one
        found["waiting"] = v["pe"] * v["acc_bits"] if v["burst"] > 1 else 0
        return
    lanes = v["pe"] * v["simd"]
    found["mux"] = (v["simd"] if v["shared"] else v["pe"]) * v["act_bits"] * bool(v["padded"])
    found["accumulator"] = v["pe"] * v["acc_bits"]
    found["waiting"] = v["pe"] * v["acc_bits"] if v["burst"] > 1 else 0
    if v["combine"] == "mac":
        bits = v["rom_words"] * lanes * v["stored_bits"]
        found["weights"] = bits if v["rom_style"] == LOGIC else _small(bits, fabric)
        a, w = v["act_bits"], v["weight_bits"]
        found["lane"] = lanes
        found["operand"] = lanes * (a + w)
        if summed_by(plan, fabric) == PLANES:
            found["plane"] = v["pe"] * plane_luts(v)
            return
        # products of one bit that are made in pairs take less: prices were fitted without
        found["product"] = lanes * product_functions(a, w, v["act_signed"])
        found["tree"] = v["pe"] * sum(tree_adders(v["simd"], v["product_bits"]))


def _counters(v: Mapping[str, Any]) -> float:
    """Bits of counters and addresses."""
    taps = v.get("copies", 1)
    bits: float = (
        v["spare_bits"] + v["space_bits"] + (1 + taps) * v["ring_bits"] + 2 * v["word_bits"]
        + (2 * v["edge_bits"] if v["padded"] else 0) + v.get("rom_bits", 0)
        + sum(1 + bits_for(count - 1) for _, count in v["loops"] if count > 1)
    )  # fmt: skip
    return bits


def _rescale(found: dict[str, float], r: Mapping[str, Any], fabric: Fabric) -> None:
    if r["form"] == "serial":
        found["serial"] += r["lanes"] * (3 * r["a_bits"] + r["high_bits"])
        for name in ("starts", "turns"):
            bits = r[name].width * r[name].depth
            found["table"] += bits if r[f"{name}_style"] else _small(bits, fabric)
        return
    if r["form"] == "constant":
        return  # counted one by one
    if r["form"] == "multiplier":
        found["rescale_product"] += r["lanes"] * r["acc_bits"] * r["m_bits"]
        found["rescale_sum"] += r["lanes"] * r["sum_bits"]
        found["table"] += _small(r["table"].width * r["table"].depth, fabric)
        return
    found["threshold"] += r["lanes"] * r["levels"] * r["acc_bits"]
    tables = (table for lane in r["tables"] for table in lane)
    found["table"] += sum(_small(t.width * t.depth, fabric) for t in tables)


def queue_words(v: Mapping[str, Any]) -> int:
    """Beats that the queue at a module's end stores: whole powers of two, as addresses wrap."""
    kept = {"code": 0, "register": 1}
    return kept.get(v["store"], 1 << bits_for(v.get("memory", v["depth"]) - 1))


def _queue(width: int, words: int) -> float:
    """Bits of registers: all of a short queue, one beat of a longer one."""
    return width * (words if words <= 4 or width * words <= HELD_BITS else 1)


def _small(bits: float, fabric: Fabric) -> float:
    return bits if bits <= fabric.rom_bits else 0.0


def brams(plan: RtlPlan, fabric: Fabric) -> int:
    """Block memories of a module: ring, weights and a large output queue."""
    v = plan.values
    count = sum(
        rom.copies * blocks(rom.width, rom.depth, fabric) for rom in plan.roms
        if v["rom_style"] != LOGIC
    )  # fmt: skip
    if "capacity" in v:
        each = ram_blocks(plan.inputs[0].width, v["capacity"] << v["word_bits"], fabric)
        count += v.get("copies", 1) * each
    if v.get("rescale") and v["rescale"]["form"] == "serial":
        for name in ("starts", "turns"):
            table = v["rescale"][name]
            if not v["rescale"][f"{name}_style"]:
                count += blocks(table.width, table.depth, fabric)
    return count + ram_blocks(plan.output.width, queue_words(v), fabric)


def ram_blocks(width: int, depth: int, fabric: Fabric) -> int:
    """Block memories of a memory that is written; a few words are registers everywhere."""
    if depth <= 4 or width * depth <= fabric.lut_ram_bits:
        return 0
    return max(1, blocks(width, depth, fabric))


def blocks(width: int, depth: int, fabric: Fabric) -> int:
    """Block memories of ``depth`` words of ``width`` bits; 0 where LUTs serve."""
    if width * depth <= fabric.rom_bits:
        return 0
    options = []
    each = fabric.bram_width
    while each >= 1:
        options.append(ceil(width / each) * ceil(depth / (fabric.bram_bits // each)))
        each //= 2
    return min(options)


def module_resources(plan: RtlPlan, fabric: Fabric) -> Resources:
    """Predicted resources of one module."""
    counts, v = features(plan, fabric), plan.values
    made = Resources(
        fabric.price(counts) + chain_cells(plan, fabric), fabric.flip_flops(counts),
        slices(plan, fabric), brams(plan, fabric),
    )  # fmt: skip
    if "adder_bits" in v:
        graphs = [v]
        made += _adders(v, fabric) + Resources(0.0, v["window_registers"])
        if v["rescale"]["form"] == "constant":
            graphs.append(v["rescale"])
            made += constant_rescale(v["rescale"], fabric)
        if fabric.shared_cell:
            waiting = sum(g["adder_registers"] - g["adder_bits"] for g in graphs)
            made += Resources(max(0, v["window_registers"] + waiting))
    return made


def chain_cells(plan: RtlPlan, fabric: Fabric) -> int:
    """Cells at the ends of a module's carry chains, which are counted, not fitted."""
    return fabric.chain_cells * chain_count(plan, fabric) if fabric.chain_cells else 0


def _adders(v: Mapping[str, Any], fabric: Fabric) -> Resources:
    """A constant graph of adders, counted one by one."""
    lut = fabric.adders(v["adder_bits"], v["adders"], v["negated_bits"])
    return Resources(lut, v["adder_registers"])


def constant_rescale(r: Mapping[str, Any], fabric: Fabric) -> Resources:
    """A rescaling by constants: its adders, the sums with the addends, and the clamp."""
    bits = r["sum_bits"]
    codes = r["out_bits"] * sum(lane["constant"] is None for lane in r["channels"])
    ends = Resources(fabric.adder_bit * bits + fabric.clamp_bit * codes, bits + codes)
    return _adders(r, fabric) + ends


def edge_features(edge: Edge) -> dict[str, float]:
    """Counts of a stream's queue, cutter and collector by feature."""
    counts = dict.fromkeys(FEATURES, 0.0)
    counts["link"] = (edge.queue > 0) + (edge.cut > 1) + (edge.collect is not None)
    counts["queue"] = _queue(edge.beat, _edge_words(edge))
    counts["stream"] = edge.beat * (edge.queue > 0) + edge.beat * (edge.cut > 1)
    if edge.collect:
        counts["stream"] += edge.piece * edge.collect.pieces
    if edge.repeat:
        counts["counter"] += edge.repeat.values["counters"]
        counts["queue"] += _queue(_repeated(edge), queue_words(edge.repeat.values))
    return counts


def _edge_words(edge: Edge) -> int:
    return 1 << bits_for(edge.queue - 1) if edge.queue else 0


def _repeated(edge: Edge) -> int:
    """Bits of a beat that is stored to be repeated."""
    return edge.piece * (edge.collect.pieces if edge.collect else 1)


def edge_resources(edge: Edge, fabric: Fabric) -> Resources:
    """Predicted resources of a stream's queue, cutter and collector."""
    counts = edge_features(edge)
    count = ram_blocks(edge.beat, _edge_words(edge), fabric)
    if edge.repeat:
        count += ram_blocks(_repeated(edge), edge.repeat.timing.capacity, fabric)
    return Resources(fabric.price(counts), fabric.flip_flops(counts), 0, count)


def design_features(design: Design, fabric: Fabric) -> dict[str, float]:
    """Counts of a whole design by feature."""
    total = dict.fromkeys(FEATURES, 0.0)
    for counts in [
        *(features(module.plan, fabric) for module in design.modules),
        *map(edge_features, design.edges),
    ]:
        for name, count in counts.items():
            total[name] += count
    return total


def design_resources(design: Design, fabric: Fabric) -> Resources:
    """Predicted resources of a whole design."""
    total = Resources()
    for module in design.modules:
        total += module_resources(module.plan, fabric)
    for edge in design.edges:
        total += edge_resources(edge, fabric)
    return total
