# SPDX-License-Identifier: Apache-2.0
"""A network's predicted cost on several targets, without building anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import targets
from .emit import layout
from .errors import UsageError
from .graph import Graph
from .report import new_report

PREDICTION_NAME = "net"


def predictions(
    graph: Graph,
    names: Sequence[str],
    limits: Mapping[str, float],
    board: str | None = None,
) -> list[dict[str, Any]]:
    """One row per target: predicted cost by budget metric, and the metrics above their limit.

    Args:
        graph: the network.
        names: targets; none means every target with a cost table.
        limits: by metric, see `adaqat.deploy.budget`.
        board: the board of the one target, its flash waits included.

    Raises:
        UsageError: an unknown target or one without a cost table.
    """
    known = [name for name in targets.names() if targets.get(name).table]
    rows = []
    for name in names or known:
        target = targets.get(name)
        if target.table is None:
            raise UsageError(
                f"--target {name}: has no cost table; targets with one:"
                f" {', '.join(known) or 'none'}; choose one of them"
            )
        model = layout(graph, target, PREDICTION_NAME)
        totals = new_report(model, board).totals
        code = totals["predicted_code_bytes"]
        row: dict[str, Any] = {
            "target": target.name,
            "cycles": totals["predicted_cycles"],
            "instructions": totals["predicted_instructions"],
            "latency_ms": totals["predicted_latency_ms"],
            "energy_uj": totals["predicted_energy_uj"],
            "flash_kb": None if code is None else (code + totals["const_bytes"]) / 1024,
            "ram_kb": totals["ram_bytes"] / 1024,
        }
        row["over"] = [
            metric
            for metric, limit in limits.items()
            if row[metric] is not None and row[metric] > limit
        ]
        row["unknown"] = [metric for metric in limits if row[metric] is None]
        rows.append(row)
    return rows
