# SPDX-License-Identifier: Apache-2.0
"""A board in the report: its name, its waits, and null where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from adaqat import hw_models
from adaqat.deploy import targets
from adaqat.deploy.check import check
from adaqat.deploy.device import Count
from adaqat.deploy.emit import layout
from adaqat.deploy.emulate import RegionCount
from adaqat.deploy.report import Report, hardware_of, new_report

BOARD = "nucleo-l4r5zi"


def report_of(graph: Any, target: str, board: str | None = None) -> Report:
    return new_report(layout(check(graph), targets.get(target), "net"), board)


def test_a_board_adds_its_waits_to_time_and_energy(tiny_graph: Any) -> None:
    plain, there = report_of(tiny_graph, "cortex-m4"), report_of(tiny_graph, "cortex-m4", BOARD)
    assert plain.totals["stall_cycles"] is None
    waits = there.totals["stall_cycles"]
    rows = [row["stall_cycles"] for row in there.nodes]
    assert waits == pytest.approx(sum(rows), abs=len(rows)) and waits > 0
    cycles = there.totals["predicted_cycles"]
    assert cycles == plain.totals["predicted_cycles"], "cycles of the core are the same"
    assert there.totals["predicted_latency_ms"] == pytest.approx((cycles + waits) / 120e3, rel=1e-3)
    energy = (cycles + waits) * 0.3492e-3
    assert there.totals["predicted_energy_uj"] == pytest.approx(energy, rel=1e-3)
    assert "NUCLEO-L4R5ZI" in there.target["board"]
    assert there.target["memory"] == "flash wait states estimated"
    assert "6919 uJ" in there.target["energy"]["source"], "energy names its source"


def test_counted_cycles_get_the_same_waits(tiny_graph: Any) -> None:
    model = layout(check(tiny_graph), targets.get("cortex-m4"), "net")
    report = new_report(model, BOARD)
    waits = report.totals["stall_cycles"]

    total = RegionCount("total", 1, 900, 1200.0, 3, {})
    report.add_counts(Count({}, total, 8, 100, {}, {}), hardware_of(model, BOARD))
    assert report.totals["latency_ms"] == pytest.approx((1200 + waits) / 120e3)


UNTIMED = [name for name in hw_models.names() if not hw_models.load(name).has_cycles]


@pytest.mark.parametrize("target", UNTIMED)
def test_unknown_cycles_are_null_everywhere(target: str, tiny_graph: Any) -> None:
    report = report_of(tiny_graph, target)
    totals = report.totals
    assert totals["predicted_instructions"] > 0
    for name in ("predicted_cycles", "predicted_latency_ms", "predicted_energy_uj"):
        assert totals[name] is None
    for row in report.nodes:
        assert row["predicted_cycles"] is None and row["predicted_instructions"] is not None
