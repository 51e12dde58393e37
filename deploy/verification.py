# SPDX-License-Identifier: Apache-2.0
"""Run the emitted network and compare every integer of every node with the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..hw_models import core_names
from . import targets
from .check import check
from .emit import CModel, layout
from .errors import UsageError
from .graph import Graph
from .host import HostModel
from .report import Report, hardware_of, new_report
from .setting import only_speed
from .simulate import check_codes, quantize_input, simulate
from .types import IntArray

if TYPE_CHECKING:
    from .rtl.goals import Goals

Progress = Callable[[int, int], None]
BATCH = 64
"""Samples per round: bounds memory and paces the progress bar."""
COUNTED = 8
"""Samples whose cost is averaged; only clamps make the cost depend on the data."""


@dataclass(frozen=True)
class Comparison:
    """One executor against the simulator.

    Attributes:
        executor: "host" or the name of an emulated core.
        samples: inputs run.
        values: integers compared, all nodes and the output.
        mismatches: how many differed.
        first_mismatch: node, sample, index, expected and found value, or None.
    """

    executor: str
    samples: int
    values: int
    mismatches: int
    first_mismatch: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of report.json."""
        return dict(self.__dict__)


@dataclass
class Tally:
    """Counts differences over batches."""

    model: CModel
    executor: str
    samples: int = 0
    values: int = 0
    mismatches: int = 0
    first: dict[str, Any] | None = None
    per_node: dict[str, int] = field(default_factory=dict)

    def add(self, codes: IntArray, trace: NDArray[np.uint8]) -> None:
        """Compare one batch of recorded bytes ``[N, bytes]`` with the simulator."""
        graph = self.model.graph
        expected = simulate(graph, codes, keep=True)
        offset = 0
        parts = [(node.node.name, node.node.output) for node in self.model.nodes]
        for name, info in [*parts, (graph.output, graph.output_node.output)]:
            raw = np.ascontiguousarray(trace[:, offset : offset + info.bytes_])
            found = raw.view(info.type.dtype).reshape(len(codes), -1)
            offset += info.bytes_
            wanted = expected[name].reshape(len(codes), -1)
            self._compare(name, wanted, found)
        self.samples += len(codes)

    def _compare(self, name: str, wanted: IntArray, found: IntArray) -> None:
        differs = wanted != found
        count = int(np.count_nonzero(differs))
        self.values += wanted.size
        self.mismatches += count
        self.per_node[name] = self.per_node.get(name, 0) + count
        if count and self.first is None:
            sample, index = (int(v) for v in np.argwhere(differs)[0])
            self.first = {
                "node": name,
                "sample": self.samples + sample,
                "index": index,
                "expected": int(wanted[sample, index]),
                "found": int(found[sample, index]),
            }

    def result(self) -> Comparison:
        """The finished comparison."""
        return Comparison(self.executor, self.samples, self.values, self.mismatches, self.first)


def as_codes(graph: Graph, inputs: NDArray[Any]) -> IntArray:
    """Integer codes of inputs: floats are quantised by the graph's rule, integers are checked."""
    if np.issubdtype(np.asarray(inputs).dtype, np.floating):
        return quantize_input(graph, inputs)
    return check_codes(graph, inputs)


def verify(
    graph: Graph,
    target: str,
    inputs: NDArray[Any],
    *,
    executor: str = "host",
    name: str = "net",
    optimise: str = "speed",
    progress: Progress | None = None,
    board: str | None = None,
    goals: Goals | None = None,
) -> Report:
    """Emit, build and run a graph, and compare every integer of every node with the simulator.

    Args:
        graph: the network.
        target: name of the target whose code is emitted.
        inputs: ``[N, ...]`` floats in the source model's own layout, quantised by the graph's
            input rule, or integer codes, channels last.
        executor: "host", "emulator" (the target's own core), "qemu" (the same image in QEMU, a
            second opinion) or the name of a core; "rtl" (Verilator) for FPGA targets.
        name: prefix of the emitted symbols.
        optimise: what the code is made for: "speed", "size" or "ram".
        progress: called with (samples done, samples in all).
        board: whose clock, flash and energy count; left out, the table's, without wait states.
        goals: speed and size of a circuit (FPGA targets).

    Returns:
        The report; ``mismatches`` is 0 when all integers agree. An emulated core also fills in
        counted instructions, estimated cycles, code size and stack.

    Raises:
        UsageError: an unknown executor or setting, or inputs of the wrong shape or range.
        ToolError: a missing or failing compiler or emulator.
    """
    codes = as_codes(graph, inputs)
    if len(codes) == 0:
        raise UsageError("inputs: no samples; at least one is needed; give more inputs")
    chosen = targets.get(target)
    if chosen.family == "verilog":
        only_speed(chosen.name, optimise)
        return _verify_rtl(graph, chosen, codes, executor, name, progress, goals)
    if executor == "rtl":
        raise UsageError(
            f"--verify rtl: target {target} emits C; it runs on the host and, with a core, in an"
            " emulator; choose an FPGA target for RTL"
        )
    model = layout(check(graph), chosen, name, optimise)
    report = new_report(model, board)
    if executor == "host":
        tally = compare_host(model, codes, progress)
    else:
        tally = compare_device(
            model,
            core_of(model, executor),
            codes,
            report,
            progress,
            referee=executor == "qemu",
            board=board,
        )
    report.verify.append(tally.result().to_json())
    for row in report.nodes:
        row["mismatches"] = tally.per_node.get(row["name"], 0)
    return report


def _verify_rtl(
    graph: Graph, target: targets.Target, codes: IntArray, executor: str, name: str,
    progress: Progress | None, goals: Goals | None,
) -> Report:
    if executor != "rtl":
        raise UsageError(
            f"executor: {executor!r}; target {target.name} emits Verilog; rtl is supported"
        )
    from .rtl.circuit import plan_circuit
    from .rtl.verification import verify_circuit

    return verify_circuit(plan_circuit(check(graph), target, name, goals), codes, progress)


def core_of(model: CModel, executor: str) -> str:
    """Name of the emulated core that an executor means.

    Raises:
        UsageError: unknown, or a target without a core.
    """
    if executor in ("emulator", "qemu"):
        if model.target.core is None:
            raise UsageError(
                f"--verify {executor}: target {model.target.name} names no core; targets with one:"
                f" {', '.join(core_names())}; verify it on the host"
            )
        return model.target.core
    if executor not in core_names():
        raise UsageError(
            f"executor: {executor!r} is unknown; host, emulator, qemu and the cores"
            f" {', '.join(core_names())} are supported"
        )
    return executor


def compare_device(
    model: CModel,
    core: str,
    codes: IntArray,
    report: Report,
    progress: Progress | None = None,
    *,
    referee: bool = False,
    board: str | None = None,
) -> Tally:
    """Firmware on an emulated core against the simulator; counts go into the report.

    ``referee`` runs the image in QEMU.
    """
    from .device import Device

    tally = Tally(model, f"{core} in QEMU" if referee else core)
    with Device(model, core, referee=referee) as device:
        report.target.update(
            core=core, compiler=device.toolchain.version, flags=device.flags
        )
        for start in range(0, len(codes), BATCH):
            part = codes[start : start + BATCH]
            tally.add(part, device.trace(part))
            if progress:
                progress(min(start + BATCH, len(codes)), len(codes))
        count = device.count(codes[:COUNTED])
    if count is not None:
        hardware = hardware_of(model, board) if core == model.target.core else None
        report.add_counts(count, hardware)
    return tally


def compare_host(model: CModel, codes: IntArray, progress: Progress | None = None) -> Tally:
    """The emitted C on this machine against the simulator."""
    tally = Tally(model, "host")
    with HostModel(model) as host:
        for start in range(0, len(codes), BATCH):
            part = codes[start : start + BATCH]
            tally.add(part, host.trace(part))
            if progress:
                progress(min(start + BATCH, len(codes)), len(codes))
    return tally
