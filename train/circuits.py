# SPDX-License-Identifier: Apache-2.0
"""Prices a prepared network as a streaming circuit: LUTs, block memories, DSP slices by width.

The folding of every layer is the smallest one that keeps the frame rate at 8 bits; widths then
change what a folded layer takes. Each price is that of the very plan that the FPGA back end prints,
by the family's measured prices. A layer's cost depends on three widths (weights, input, output); it
is taken as the cost at its weights and input, plus what the output's width changes at 4-bit weights
and inputs. Like `arena`, this module asks the deploying side, which it loads when first used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ..deploy.errors import UsageError
from .bits import MAX_BITS, BitWidth, override
from .cost import NetworkCost, Term
from .module import QuantModule

if TYPE_CHECKING:
    from ..deploy.graph import Graph
    from ..deploy.rtl.plan import Fold
    from ..hw_models import Fabric

METRICS = ("lut", "bram", "dsp")
PREFIX = "fpga-"
"""Targets whose names begin so are circuits."""
MIDDLE = 4
"""Width of weights and input at which the effect of the output's width is priced."""

Prices = dict[str, float]


def circuit_cost(
    module: QuantModule,
    target: str,
    frames_per_second: float | None = None,
    latency_ms: float | None = None,
) -> NetworkCost:
    """LUTs and block memories of a calibrated module, as predicted from the family's prices.

    DSP slices are counted: the products that synthesis puts there, if all of them fit the device
    (`adaqat.deploy.rtl.synthesis`); 0 where the family's command keeps products off them.

    Args:
        module: the network.
        target: an FPGA target with measured prices.
        frames_per_second: what the circuit must reach at the family's clock; default: the rate
            that the back end aims at by itself.
        latency_ms: most time from the first input to the last output of a frame.

    Raises:
        UsageError: no measured prices, or a rate or latency that no folding reaches.
        UnsupportedError: operators without Verilog, all of them.
    """
    from ..deploy.rtl.cost import edge_resources
    from ..deploy.rtl.design import lay_out
    from ..deploy.rtl.engines import EVERY
    from ..deploy.rtl.folding import choose_folds
    from ..deploy.rtl.goals import USUAL_RATE, Goals
    from ..deploy.rtl.schedule import with_deep_queues
    from ..deploy.targets import get
    from ..hw_models import load_fabric

    fabric = load_fabric(target)
    if not fabric.measured:
        raise UsageError(
            f"cost: no measured LUT prices for {target}; train for fpga-ecp5 or fpga-ice40, or run "
            f"python benchmarks/fabrics.py {target} first"
        )
    rate = frames_per_second
    if rate is None and latency_ms is None:
        rate = USUAL_RATE
    for name, limit in (("frames_per_second", rate), ("latency_ms", latency_ms)):
        if limit is not None and not limit > 0:
            raise UsageError(f"budget: {name} = {limit:g}; a positive number is needed")
    graphs = _graphs(module)
    widest = graphs[MAX_BITS]
    goals = Goals(
        fabric.clock_mhz,
        None if rate is None else max(1, int(fabric.clock_mhz * 1e6 / rate)),
        None if latency_ms is None else int(fabric.clock_mhz * 1e3 * latency_ms),
        # an unrolled layer's size follows its weights, which training changes: priced as folded
        engines=((EVERY, "folded"),),
    )
    try:
        folds = choose_folds(widest, get(target), goals)
    except UsageError as error:
        raise UsageError(
            f"budget: no folding on {target} keeps the frames_per_second and latency_ms asked for "
            f"at 8 bits ({error}); allow fewer frames or more time"
        ) from error
    design = with_deep_queues(lay_out(widest, get(target), "net", folds))
    fixed: Prices = dict.fromkeys(METRICS, 0.0)
    for edge in design.edges:
        found = edge_resources(edge, fabric)
        fixed["lut"] += found.lut
        fixed["bram"] += found.bram
    terms: list[Term] = []
    for part in design.modules:
        terms += _terms(module, part.node.name, part.fold, graphs, fabric)
    return NetworkCost(target, METRICS, terms, fixed=fixed)


def _graphs(module: QuantModule) -> dict[int, Graph]:
    """The lowered network by the width of its free weights, activations at 8 bits."""
    from ..deploy.frontends.torch import lower

    example = torch.zeros(2, *module.network.records[0].shape)
    free = [w for w in module.widths if not w.fixed]
    training = module.training
    module.eval()
    try:
        graphs = {}
        for bits in range(1, MAX_BITS + 1):
            wanted = {w: w.at_least(bits) if w.kind == "weight" else w.hi for w in free}
            with override(wanted):
                graphs[bits] = lower(module, example)
    finally:
        module.train(training)
    return graphs


def _terms(
    module: QuantModule, name: str, fold: Fold, graphs: Mapping[int, Graph], fabric: Fabric
) -> list[Term]:
    """One term over weights and input, and one over the output where it has a width of its own."""
    known = {record.name: record for record in module.network.records}
    record = known.get(name)
    if record is None:  # a node that lowering added; its cost follows no width
        return [Term(name, (), {(): _price(graphs[MAX_BITS], name, fold, fabric)})]
    weight = module.weight_quantizer(record).width if record.weight is not None else None
    source = module.act_quantizer(record.inputs[0]).width
    own = module.act_quantizer(name).width
    widths = (weight, source) if weight is not None else (source,)
    table = {}
    for bits in _every(widths):
        graph = graphs[MAX_BITS if weight is None else bits[0]]
        table[bits] = _price(graph, name, fold, fabric, bits[-1])
    terms = [Term(name, widths, table)]
    if not own.fixed and own is not source:
        graph = graphs[MIDDLE]
        base = _price(graph, name, fold, fabric, MIDDLE, own.hi)
        effect = {}
        for bits in _every((own,)):
            price = _price(graph, name, fold, fabric, MIDDLE, bits[0])
            effect[bits] = {m: price[m] - base[m] for m in METRICS}
        terms.append(Term(f"{name} output", (own,), effect))
    return terms


def _every(widths: Iterable[BitWidth]) -> list[tuple[int, ...]]:
    combined: list[tuple[int, ...]] = [()]
    for width in widths:
        own = [width.integer] if width.fixed else range(1, MAX_BITS + 1)
        combined = [(*c, bits) for c in combined for bits in own]
    return combined


def _price(
    graph: Graph, name: str, fold: Fold, fabric: Fabric, act: int | None = None,
    out: int | None = None,
) -> Prices:
    """Price of a node's module with ``act`` bits at its inputs and ``out`` bits at its output."""
    from ..deploy.rtl.cost import module_resources
    from ..deploy.rtl.dsp import products

    if all(node.name != name for node in graph.nodes):  # merged into another at these widths
        return dict.fromkeys(METRICS, 0.0)
    node = graph[name]
    inputs = list(graph.inputs_of(node))
    if act is not None:
        inputs = [replace(i, type=replace(i.type, bits=min(act, i.type.bits))) for i in inputs]
    op: Any = node.op
    output = node.output
    if out is not None and hasattr(op, "requant"):
        type_ = replace(op.out_type, bits=out)
        low, high = max(op.requant.lo, type_.lo), min(op.requant.hi, type_.hi)
        op = replace(op, out_type=type_, requant=replace(op.requant, lo=low, hi=high))
        output = replace(output, type=type_)
    plan = op.rtl_plan(inputs, output, fold)
    found = module_resources(plan, fabric)
    slices = sum(p.slices for p in products(plan, fabric) if p.wide and fabric.dsp_synthesis)
    return {"lut": found.lut, "bram": float(found.bram), "dsp": float(slices)}
