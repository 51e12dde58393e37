# SPDX-License-Identifier: Apache-2.0
"""The report of an emitted network: size, predicted and counted cost, verification, node by node.

Figures nobody measured are None (null in JSON), never guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hw_models import HwModel, NodeCost, load
from .emit import CModel, array_bytes
from .errors import UsageError

if TYPE_CHECKING:
    from .device import Count
    from .emulate import RegionCount

FILE = "report.json"


@dataclass
class Report:
    """What is known about one emitted network.

    Attributes:
        model: name, id, macs, weights.
        target: name, core, compiler, flags.
        totals: cost of one inference and sizes; see `to_json` for the keys.
        verify: one entry per executor: samples, values, mismatches, first_mismatch.
        nodes: one row per node, with the node's share of the totals.
    """

    model: dict[str, Any]
    target: dict[str, Any]
    totals: dict[str, Any]
    verify: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def mismatches(self) -> int:
        """Integers that differed, over all executors."""
        return sum(int(entry["mismatches"]) for entry in self.verify)

    def to_json(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "model": self.model,
            "target": self.target,
            "totals": self.totals,
            "verify": self.verify,
            "nodes": self.nodes,
        }

    def joined(self, earlier: Report) -> Report:
        """This report with the verification of an earlier one of the same network added."""
        before = {row["name"]: row.get("mismatches", 0) for row in earlier.nodes}
        nodes = [
            {**row, "mismatches": row.get("mismatches", 0) + before[row["name"]]}
            for row in self.nodes
        ]
        return replace(self, verify=[*earlier.verify, *self.verify], nodes=nodes)

    def write(self, folder: Path) -> Path:
        """Write report.json into an emitted folder."""
        path = folder / FILE
        try:
            path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
        return path

    def add_counts(self, count: Count, hardware: HwModel | None) -> None:
        """Fill in what an emulated core counted."""
        self.totals.update(_counted(count.total, hardware))
        self.totals["stack_bytes"] = count.stack_bytes
        self.totals["code_bytes"] = count.code_bytes
        for row in self.nodes:
            if row["name"] in count.nodes:
                row.update(_counted(count.nodes[row["name"]], hardware))
                row["code_bytes"] = count.node_code_bytes[row["name"]]


def _counted(region: RegionCount, hardware: HwModel | None) -> dict[str, Any]:
    cycles = None if region.cycles is None else round(region.cycles)
    found: dict[str, Any] = {"instructions": region.instructions, "cycles": cycles}
    if cycles is not None and hardware is not None:
        found["latency_ms"] = cycles / hardware.clock_mhz / 1000
        if hardware.nj_per_cycle is not None:
            found["energy_uj"] = cycles * hardware.nj_per_cycle / 1000
    return found


def hardware_of(model: CModel) -> HwModel | None:
    """The cost table of the target, None where it has none."""
    return load(model.target.table) if model.target.table else None


def new_report(model: CModel) -> Report:
    """Everything known without running anything: shapes, sizes and the table's prediction."""
    hardware = hardware_of(model)
    predicted: dict[str, NodeCost] = (
        {entry.name: entry for entry in hardware.cost(model.graph)} if hardware else {}
    )
    works = dict(model.graph.works())
    complete = hardware is not None and all(
        hardware.predicts(work) for _, work in model.graph.works(hardware.kernels)
    )
    nodes = []
    for emitted in model.nodes:
        node = emitted.node
        inputs = model.graph.inputs_of(node)
        cost = predicted[node.name].cost if node.name in predicted else None
        nodes.append(
            {
                "name": node.name,
                "op": node.op.kind,
                "source": node.source,
                "weight_bits": node.op.weight_bits or None,
                "act_bits_in": [info.type.bits for info in inputs],
                "act_bits_out": node.output.type.bits,
                "shape": list(node.output.shape),
                "macs": works[node.name].macs,
                "const_bytes": array_bytes(emitted.plan),
                "ram_bytes": node.output.bytes_ + emitted.plan.scratch,
                "code_bytes": None,
                "predicted_instructions": round(cost.instructions) if cost else None,
                "predicted_cycles": round(cost.cycles) if cost else None,
                "instructions": None,
                "cycles": None,
                "energy_uj": None,
                "latency_ms": None,
            }
        )
    return Report(
        {
            "name": model.name,
            "id": model.graph.model_id,
            "macs": sum(work.macs for work in works.values()),
            "weights": sum(node.op.weight_count for node in model.graph.nodes),
        },
        {"name": model.target.name, "core": model.target.core, "compiler": None, "flags": None},
        _totals(model, list(predicted.values()), hardware if complete else None),
        nodes=nodes,
    )


def _totals(
    model: CModel, predicted: list[NodeCost], hardware: HwModel | None
) -> dict[str, Any]:
    cycles = sum(entry.cost.cycles for entry in predicted)
    known = hardware is not None
    return {
        "instructions": None,
        "cycles": None,
        "predicted_instructions": (
            round(sum(entry.cost.instructions for entry in predicted)) if known else None
        ),
        "predicted_cycles": round(cycles) if known else None,
        "energy_uj": None,
        "latency_ms": None,
        "predicted_latency_ms": cycles / hardware.clock_mhz / 1000 if hardware else None,
        "predicted_energy_uj": (
            cycles * hardware.nj_per_cycle / 1000
            if hardware and hardware.nj_per_cycle is not None
            else None
        ),
        "code_bytes": None,
        "predicted_code_bytes": (
            hardware.code_bytes(entry.cost for entry in predicted) if hardware else None
        ),
        "const_bytes": model.const_bytes,
        "ram_bytes": 4 * model.ram_words,
        "stack_bytes": None,
    }
