# SPDX-License-Identifier: Apache-2.0
"""A design as text: Verilog, memory files, bench, scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...hw_models import load_fabric
from ..emit import version
from ..errors import UnsupportedError
from ..render import comment, exists
from ..types import IntArray
from .design import INPUT, OUTPUT, Design, Edge, Module
from .gather import Gather
from .lane_sums import PAIRS, PLANES, chains, summed_by
from .plan import Port, bits_for
from .reload import bus_facts, stores
from .words import print_template


@dataclass(frozen=True)
class Wire:
    """One stream of the top module: its name and bits."""

    name: str
    width: int


def verilog(design: Design) -> str:
    """The text of ``<name>.v``: library, one module per node, the top module.

    Raises:
        UnsupportedError: operators without a template.
    """
    missing = [
        f"{module.node.source}: operator {module.node.op.kind} has no Verilog template; see the"
        " table of supported operators; replace it, or deploy to a processor"
        for module in design.modules
        if not exists(_template(module))
    ]
    if missing:
        raise UnsupportedError(missing)
    parts = [
        print_template("verilog/banner.v.j2", design=facts(design)),
        print_template("verilog/top.v.j2", **_top(design)),
        print_template("verilog/library.v.j2", name=design.name),
        print_template("verilog/product.v.j2", name=design.name),
    ]
    fabric = load_fabric(design.target.name)
    forms = {
        module.ident: summed_by(module.plan, fabric)
        for module in design.modules
        if "paired" in module.plan.values
    }
    chained = chains(design, fabric)
    if chained:
        parts.append(print_template("verilog/gated.v.j2", name=design.name))
    parts += [
        print_template(f"verilog/{form}.v.j2", name=design.name, chained=chained)
        for form in (PAIRS, PLANES)
        if form in forms.values()
    ]
    bus = bus_facts(design)
    if bus:
        parts.append(print_template("verilog/store.v.j2", name=design.name))
    placed = stores(design)
    for module in design.modules:
        plan = module.plan
        mine = {store.rom.name: store.facts for store in placed if store.module is module}
        parts.append(
            print_template("verilog/node.v.j2", title=_title(design, module), proof=plan.proof)
        )
        parts.append(
            print_template(
                _template(module), name=design.name, ident=module.ident,
                v={**plan.values, "summed_by": forms.get(module.ident)}, inputs=plan.inputs,
                output=plan.output, stores=mine,
            )
        )  # fmt: skip
    for ident, edge, made in _repeats(design):
        wide = edge.piece * (edge.collect.pieces if edge.collect else 1)
        one = Port(1, 1, 1, 1, wide)
        title = f"{edge.source} to {edge.target}: blocks of {made.values['block']} beats, repeated"
        parts.append(print_template("verilog/node.v.j2", title=comment(title), proof=()))
        parts.append(
            print_template(
                "verilog/repeat.v.j2", name=design.name, ident=ident, v=made.values, inputs=(one,),
                output=one,
            )
        )  # fmt: skip
    parts.append("`default_nettype wire\n")
    text = "\n".join(part.strip("\n") + "\n" for part in parts)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def memories(design: Design) -> dict[str, str]:
    """Hexadecimal weight files by name."""
    found = {}
    for module in design.modules:
        for rom in module.plan.roms:
            digits = -(-rom.width // 4)
            lines = [f"{word:0{digits}x}" for word in rom.make()]
            head = f"// {comment(module.node.source)}: {rom.note}"
            found[f"{module.ident}_{rom.name}.hex"] = "\n".join([head, *lines]) + "\n"
    return found


def _repeats(design: Design) -> list[tuple[str, Edge, Gather]]:
    """Identifier, edge and order of every stream that is repeated."""
    repeats = [(edge, edge.repeat) for edge in design.edges if edge.repeat]
    return [(f"{design.name}_r{i}_repeat", edge, made) for i, (edge, made) in enumerate(repeats)]


def facts(design: Design) -> dict[str, Any]:
    """What banner and README state."""
    graph = design.graph
    return {
        "name": design.name,
        "version": version(),
        "id": graph.model_id,
        "target": design.target.name,
        "macs": sum(work.macs for _, work in graph.works()),
        "weights": sum(node.op.weight_count for node in graph.nodes),
        "modules": [
            {
                "ident": module.ident,
                "source": comment(module.node.source),
                "kind": module.node.op.kind,
                "pe": module.fold.pe,
                "simd": module.fold.simd,
                "engine": engine(module),
                "at_once": at_once(module),
                "lanes": module.plan.output.lanes,
            }
            for module in design.modules
        ],
        "input": _port_facts(design.input, graph.input_node.output),
        "output": _port_facts(design.output, graph.output_node.output),
    }


def padded_width(port: Port) -> int:
    """Bits of the top module's tdata: whole bytes, as AXI-Stream asks for."""
    return -(-port.width // 8) * 8


def _port_facts(port: Port, info: Any) -> dict[str, Any]:
    return {
        "lanes": port.lanes, "bits": port.bits, "width": port.width, "channels": port.channels,
        "data_width": padded_width(port), "beats": port.beats, "type": str(info.type),
        "shape": "x".join(str(size) for size in info.shape), "scale": f"{info.scale:.9g}",
        "zero": info.zero, "lo": info.type.lo, "hi": info.type.hi,
    }  # fmt: skip


def _template(module: Module) -> str:
    name = module.plan.template
    return f"verilog/{name if '/' in name else f'ops/{name}'}.v.j2"


def _title(design: Design, module: Module) -> str:
    node = module.node
    sources = ", ".join(
        f"{info.type} {list(info.shape)}" for info in design.graph.inputs_of(node)
    )
    weights = f" x w{node.op.weight_bits}" if node.op.weight_bits else ""
    return comment(
        f"{node.source} ({node.op.kind}): {sources}{weights} ->"
        f" {node.output.type} {list(node.output.shape)}, {at_once(module)}"
    )


def engine(module: Module) -> str:
    """The engine of a module."""
    if module.fold.unrolled:
        return "unrolled"
    return "folded" if module.node.op.weight_count else "-"


def at_once(module: Module) -> str:
    """How much of a module works at once, in words."""
    fold = module.fold
    if fold.unrolled:
        adders = module.plan.values["adders"]
        return f"whole window, {adders} adders, {fold.pe} results leave at once"
    return f"{fold.pe} outputs x {fold.simd} inputs at once"


def _top(design: Design) -> dict[str, Any]:
    """Everything the top template prints: wires and instances in order."""
    wires: list[Wire] = []
    instances: list[dict[str, Any]] = []

    def wire(name: str, width: int) -> str:
        wires.append(Wire(name, width))
        return name

    starts = {INPUT: wire("input", design.input.width)}
    for module in design.modules:
        starts[module.node.name] = wire(f"{module.ident}_out", module.plan.output.width)
    ends: dict[tuple[str, int], str] = {}
    repeats = {(edge.target, edge.slot): ident for ident, edge, _ in _repeats(design)}
    for source, start in starts.items():
        edges = design.leaving(source)
        names = [start]
        if len(edges) > 1:
            names = [wire(f"{start}_{i}", edge.beat) for i, edge in enumerate(edges)]
            instances.append({"kind": "fork", "source": start, "branches": names})
        for edge, name in zip(edges, names, strict=True):
            end = _adapt(edge, name, wire, instances)
            if edge.repeat:
                out = wire(f"{end}_r", edge.piece * (edge.collect.pieces if edge.collect else 1))
                ident = repeats[edge.target, edge.slot]
                instances.append({"kind": "node", "ident": ident, "sources": [end], "out": out})
                end = out
            ends[edge.target, edge.slot] = end
    for module in design.modules:
        name = module.node.name
        sources = [ends[name, slot] for slot in range(len(module.plan.inputs))]
        instances.append(
            {"kind": "node", "ident": module.ident, "sources": sources, "out": starts[name],
             "reload": module.plan.values.get("reload")}
        )  # fmt: skip
    taps = [
        {"wire": starts[module.node.name], "width": module.plan.output.width, "index": i}
        for i, module in enumerate(design.modules)
    ]
    # a used stream of no consumer would hold the network: let it run dry
    unread = [start for source, start in starts.items() if not design.leaving(source)]
    return {
        "name": design.name, "wires": wires, "instances": instances, "taps": taps,
        "unread": unread, "first": "input", "last": ends[OUTPUT, 0],
        "design": facts(design), "reload": bus_facts(design),
        "count_bits": bits_for(design.output.beats - 1),
    }  # fmt: skip


def _adapt(edge: Edge, start: str, wire: Any, instances: list[dict[str, Any]]) -> str:
    """Queue, cutter and collector of an edge; the name of the stream at its end."""
    at = start
    if edge.queue:
        out = wire(f"{at}_q", edge.beat)
        instances.append(
            {"kind": "fifo" if edge.queue > 4 else "queue", "source": at, "out": out,
             "width": edge.beat, "depth": edge.queue, "bits": bits_for(edge.queue - 1)}
        )  # fmt: skip
        at = out
    if edge.cut > 1:
        out = wire(f"{at}_c", edge.piece)
        instances.append(
            {"kind": "cut", "source": at, "out": out, "width": edge.piece, "pieces": edge.cut,
             "bits": bits_for(edge.cut - 1)}
        )  # fmt: skip
        at = out
    if edge.collect:
        c = edge.collect
        out = wire(f"{at}_w", edge.piece * c.pieces)
        instances.append(
            {"kind": "collect", "source": at, "out": out, "width": edge.piece, "pieces": c.pieces,
             "bits": bits_for(c.pieces - 1), "words": c.words, "word_bits": bits_for(c.words - 1),
             "last": c.last}
        )  # fmt: skip
        at = out
    return at


def beats_of(codes: IntArray, port: Port) -> list[int]:
    """Beats of frames ``[N, ...]`` of codes as numbers, the first channel lowest."""
    mask = (1 << port.bits) - 1
    rows = (codes.astype(np.int64) & mask).reshape(-1, port.lanes).tolist()
    return [sum(value << (port.bits * i) for i, value in enumerate(row)) for row in rows]
