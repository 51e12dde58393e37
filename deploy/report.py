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
from .targets import Target

if TYPE_CHECKING:
    from .device import Count
    from .emulate import RegionCount
    from .rtl.circuit import Circuit

FILE = "report.json"


@dataclass
class Report:
    """What is known about one emitted network.

    Attributes:
        model: name, id, macs, weights.
        target: name, core, compiler, flags, optimise (the setting).
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
        self.totals.update(_counted(count.total, hardware, self.totals["stall_cycles"]))
        self.totals["stack_bytes"] = count.stack_bytes
        self.totals["code_bytes"] = count.code_bytes
        for row in self.nodes:
            if row["name"] in count.nodes:
                row.update(_counted(count.nodes[row["name"]], hardware, row["stall_cycles"]))
                row["code_bytes"] = count.node_code_bytes[row["name"]]


def _counted(
    region: RegionCount, hardware: HwModel | None, stalls: int | None
) -> dict[str, Any]:
    cycles = None if region.cycles is None else round(region.cycles)
    found: dict[str, Any] = {"instructions": region.instructions, "cycles": cycles}
    if hardware is not None:
        found["latency_ms"] = hardware.latency_ms(cycles, stalls or 0)
        found["energy_uj"] = hardware.energy_uj(cycles, stalls or 0)
    return found


def model_report(model: CModel | Circuit, board: str | None = None) -> Report:
    """The report of what `adaqat.deploy.build` emitted, without running it."""
    if isinstance(model, CModel):
        return new_report(model, board)
    from .rtl.report import circuit_report

    return circuit_report(model)


def hardware_of(model: CModel, board: str | None = None) -> HwModel | None:
    """The cost table of the target on a board, None where it has no table.

    Errors as of `check_board`.
    """
    check_board(model.target, board)
    return load(model.target.table, board) if model.target.table else None


def check_board(target: Target, board: str | None) -> None:
    """Refuse a board that says nothing about a target.

    Raises:
        UsageError: a board for a target without a table.
        HwModelError: a board that is unknown or for another core.
    """
    if board is None:
        return
    if target.table is None:
        raise UsageError(
            f"--board {board}: target {target.name} has no cost table; targets with one can"
            f" have a board ('adaqat targets' lists them); leave --board out"
        )
    load(target.table, board)


def new_report(model: CModel, board: str | None = None) -> Report:
    """Everything known without running anything: shapes, sizes and the table's prediction.

    ``board`` names the board whose clock, flash and energy count.
    """
    # the tables were measured from the kernels of one setting; at another they would be wrong
    hardware = hardware_of(model, board) if model.setting.predicted else None
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
                "predicted_cycles": _rounded(cost.cycles) if cost else None,
                "stall_cycles": _rounded(cost.stall_cycles) if cost and board else None,
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
        {
            "name": model.target.name,
            "core": model.target.core,
            "compiler": None,
            "flags": None,
            "optimise": model.setting.value,
            **_conditions(hardware),
        },
        _totals(model, list(predicted.values()), hardware if complete else None),
        nodes=nodes,
    )


def _conditions(hardware: HwModel | None) -> dict[str, Any]:
    """For which board, memory and energy figure the cost holds."""
    if hardware is None:
        return {"board": None, "memory": None, "energy": None, "table": None}
    waits = hardware.board is not None and hardware.board.flash is not None
    made = hardware.table.provenance
    return {
        "board": hardware.board.title if hardware.board else hardware.table.board,
        "memory": "flash wait states estimated" if waits else "no waits for flash added",
        "energy": hardware.energy.model_dump(),
        "table": {"name": hardware.table.file_name, "compiler": made.compiler_version},
    }


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _totals(
    model: CModel, predicted: list[NodeCost], hardware: HwModel | None
) -> dict[str, Any]:
    known = hardware is not None
    timed = hardware is not None and hardware.has_cycles
    cycles = sum(entry.cost.cycles or 0.0 for entry in predicted) if timed else None
    stalls = sum(entry.cost.stall_cycles for entry in predicted)
    return {
        "instructions": None,
        "cycles": None,
        "predicted_instructions": (
            round(sum(entry.cost.instructions for entry in predicted)) if known else None
        ),
        "predicted_cycles": _rounded(cycles),
        "stall_cycles": round(stalls) if hardware and hardware.board else None,
        "energy_uj": None,
        "latency_ms": None,
        "predicted_latency_ms": hardware.latency_ms(cycles, stalls) if hardware else None,
        "predicted_energy_uj": hardware.energy_uj(cycles, stalls) if hardware else None,
        "code_bytes": None,
        "predicted_code_bytes": (
            hardware.code_bytes(entry.cost for entry in predicted) if hardware else None
        ),
        "const_bytes": model.const_bytes,
        "ram_bytes": 4 * model.ram_words,
        "stack_bytes": None,
    }
