# SPDX-License-Identifier: Apache-2.0
"""The emitted Verilog against the simulator: every integer of every node, and every cycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ToolError
from ..report import Report
from ..simulate import simulate
from ..types import IntArray
from .circuit import Circuit
from .report import circuit_report
from .schedule import schedule
from .simulation import Recording, RtlModel
from .tools import verilator

Progress = Callable[[int, int], None]
BATCH = 64
"""Frames per run; bounds memory."""
STALLED = ((0, 0), (35, 0), (0, 35), (45, 45))
"""Percent of stalls at input and output, a pair per batch in turn."""
TIMED = 4
"""Frames of the run without stalls whose cycles are compared with the schedule."""


def verify_circuit(circuit: Circuit, codes: IntArray, progress: Progress | None = None) -> Report:
    """Run frames through the RTL in Verilator, with and without stalls.

    Args:
        circuit: what is emitted.
        codes: input codes ``[N, *input shape]``, checked.
        progress: called with (frames done, frames in all).

    Returns:
        The report with the comparison.

    Raises:
        ToolError: no simulator, or cycles that differ from the schedule.
    """
    report = circuit_report(circuit)
    report.target.update(compiler=verilator().version)
    design = circuit.design
    tally = Comparing(circuit)
    with RtlModel(design) as model:
        for turn, start in enumerate(range(0, len(codes), BATCH)):
            part = codes[start : start + BATCH]
            recorded = model.run(part, stalls=STALLED[turn % len(STALLED)], seed=turn)
            tally.add(part, recorded)
            if turn == 0:
                _check_cycles(circuit, recorded)
                if len(codes) <= BATCH:
                    # one batch only: run it once more with stalls
                    tally.add(part, model.run(part, stalls=STALLED[-1], seed=1), again=True)
            if progress:
                progress(min(start + BATCH, len(codes)), len(codes))
    report.verify.append(tally.result())
    for row in report.nodes:
        row["mismatches"] = tally.per_node.get(row["name"], 0)
    return report


def _check_cycles(circuit: Circuit, recorded: Recording) -> None:
    if recorded.stuck:
        return
    frames = min(len(recorded.ends), TIMED)
    known = circuit.schedule.ends[:frames]
    if frames > len(known):
        timed = schedule(circuit.design, frames)
        known = timed.ends if timed else ()
    if tuple(recorded.ends[:frames]) != tuple(known[:frames]):
        raise ToolError(
            f"RTL simulation: frames end at cycles {list(recorded.ends[:frames])}, the schedule"
            f" says {list(known[:frames])}; the cycles reported would be wrong; report it"
        )


class Comparing:
    """Counts differences over batches."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.samples = 0
        self.values = 0
        self.mismatches = 0
        self.first: dict[str, Any] | None = None
        self.per_node: dict[str, int] = {}

    def add(self, codes: IntArray, recorded: Recording, *, again: bool = False) -> None:
        """Compare the streams of one batch; missing values count as mismatches."""
        graph = self.circuit.design.graph
        expected = simulate(graph, codes, keep=True)
        names = [module.node.name for module in self.circuit.design.modules] + [graph.output]
        for name, stream in zip(names, recorded.streams, strict=True):
            info = graph[name].output
            wanted = expected[name].reshape(len(codes), -1).astype(np.int64)
            found = stream[: len(codes)]
            if info.type.signed:
                half = 1 << (info.type.bits - 1)
                found = (found ^ half) - half
            self._compare(name, wanted, found)
        self.mismatches += recorded.wrong_last
        if not again:
            self.samples += len(codes)

    def _compare(self, name: str, wanted: IntArray, found: IntArray) -> None:
        missing = len(wanted) - len(found)
        differs = wanted[: len(found)] != found
        count = int(np.count_nonzero(differs)) + missing * wanted.shape[1]
        self.values += wanted.size
        self.mismatches += count
        self.per_node[name] = self.per_node.get(name, 0) + count
        if count and self.first is None:
            if differs.any():
                sample, index = (int(v) for v in np.argwhere(differs)[0])
                got: int | None = int(found[sample, index])
            else:
                sample, index, got = len(found), 0, None
            self.first = {
                "node": name,
                "sample": self.samples + sample,
                "index": index,
                "expected": int(wanted[sample, index]),
                "found": got,
            }

    def result(self) -> dict[str, Any]:
        """The entry of report.json."""
        return {
            "executor": "rtl",
            "samples": self.samples,
            "values": self.values,
            "mismatches": self.mismatches,
            "first_mismatch": self.first,
        }
