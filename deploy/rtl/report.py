# SPDX-License-Identifier: Apache-2.0
"""The report of a circuit: cycles by the schedule, resources where they are known."""

from __future__ import annotations

from typing import Any

from ...hw_models import load_fabric
from ..report import Report
from .circuit import Circuit
from .cost import design_resources, module_resources
from .emit import engine


def circuit_report(circuit: Circuit) -> Report:
    """Everything known without running or synthesising anything.

    ``cycles`` is the latency of one frame and ``interval`` the distance of frames, as simulation
    counts them; figures that only synthesis or place and route give are None.
    """
    design, graph = circuit.design, circuit.design.graph
    works = dict(graph.works())
    fabric = load_fabric(design.target.name)
    whole = design_resources(design, fabric)
    nodes: list[dict[str, Any]] = []
    for module in design.modules:
        node = module.node
        parts = module_resources(module.plan, fabric)
        nodes.append(
            {
                "name": node.name,
                "op": node.op.kind,
                "source": node.source,
                "weight_bits": node.op.weight_bits or None,
                "act_bits_in": [info.type.bits for info in graph.inputs_of(node)],
                "act_bits_out": node.output.type.bits,
                "shape": list(node.output.shape),
                "macs": works[node.name].macs,
                "engine": engine(module),
                "adders": module.plan.values.get("adders"),
                "pe": module.fold.pe,
                "simd": module.fold.simd,
                "lanes_out": module.plan.output.lanes,
                "cycles": circuit.schedule.busy[node.name],
                "rom_bits": sum(rom.bits for rom in module.plan.roms),
                "predicted_lut": round(parts.lut) if fabric.measured else None,
                "predicted_bram": parts.bram,
                "lut": None,
                "ff": None,
                "dsp": None,
                "bram": None,
            }
        )
    clock = circuit.goals.clock_mhz
    return Report(
        {
            "name": design.name,
            "id": graph.model_id,
            "macs": sum(work.macs for work in works.values()),
            "weights": sum(node.op.weight_count for node in graph.nodes),
        },
        {"name": design.target.name, "core": None, "compiler": None, "flags": None},
        {
            "lut": None,
            "ff": None,
            "dsp": None,
            "bram": None,
            "predicted_lut": round(whole.lut) if fabric.measured else None,
            "predicted_ff": round(whole.ff) if fabric.measured else None,
            "predicted_dsp": whole.dsp,
            "predicted_bram": whole.bram,
            "cycles": circuit.schedule.latency,
            "interval": circuit.schedule.interval,
            "fmax_mhz": None,
            "clock_mhz": clock,
            "latency_ms": circuit.schedule.latency / clock / 1000,
            "frames_per_second": clock * 1e6 / circuit.schedule.interval,
            "power_w": None,
            "energy_per_frame_j": None,
        },
        nodes=nodes,
    )
