# SPDX-License-Identifier: Apache-2.0
"""A graph on an FPGA target, folded, queued and timed: what is emitted, verified and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...hw_models import Fabric, load_fabric
from ..graph import Graph
from ..targets import Target
from .cost import design_resources
from .design import Design, lay_out
from .dsp import with_dsps
from .folding import choose_folds
from .goals import Goals
from .memory_style import with_fitting_memories
from .plan import Fold, WindowTiming
from .schedule import SHALLOW, Schedule, key, schedule, with_deep_queues
from .words import verilog_name

AHEAD = 4
"""Most doublings of a ring in place of a queue."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """A design with its cycles.

    Attributes:
        design: modules and streams.
        schedule: latency and interval.
        goals: what the folding was chosen for.
    """

    design: Design
    schedule: Schedule
    goals: Goals


def plan_circuit(
    graph: Graph, target: Target, name: str, goals: Goals | None = None,
    folds: Mapping[str, Fold] | None = None, fabric: Fabric | None = None,
) -> Circuit:
    """Fold, lay out, queue and time a checked graph.

    Args:
        graph: the network.
        target: an FPGA target.
        name: prefix of every module and file.
        goals: speed and size; the target's usual ones when left out.
        folds: foldings by node name instead of a search.
        fabric: the device whose block memories and DSP slices are given out; the family's usual one
            when left out.

    Raises:
        UsageError: a name that is no Verilog identifier, or goals that cannot be met together.
        UnsupportedError: operators without Verilog.
    """
    verilog_name(name)
    goals = goals or Goals.of(target)
    chosen = choose_folds(graph, target, goals) if folds is None else folds
    if goals.reload:
        chosen = {
            node.name: replace(chosen.get(node.name, Fold()), reload=True)
            for node in graph.nodes
        }
    design = with_larger_rings(with_deep_queues(lay_out(graph, target, name, chosen)))
    fabric = fabric or load_fabric(target.name)
    design = with_dsps(with_fitting_memories(design, fabric), fabric)
    timed = schedule(design)
    assert timed is not None, "queues of the unbounded design cannot come to a deadlock"
    return Circuit(design, timed, goals)


def with_larger_rings(design: Design) -> Design:
    """The design with input rings that hold what waited in a queue before them, where smaller.

    Block memories come in one size: a ring often has room for all that its queue would hold.
    """
    fabric = load_fabric(design.target.name)
    for edge in design.edges:
        folds = {module.node.name: module.fold for module in design.modules}
        if edge.queue <= SHALLOW or edge.target not in folds:
            continue
        plan = next(m.plan for m in design.modules if m.node.name == edge.target)
        timing, source = plan.timing, plan.inputs[0]
        if not isinstance(timing, WindowTiming) or "combine" not in plan.values:
            continue
        pixel = source.channels * source.bits
        queued = -(-edge.queue * edge.beat // pixel)
        for ahead in range(1, AHEAD + 1):
            if timing.capacity * ((1 << ahead) - 1) >= queued:
                larger = {**folds, edge.target: replace(folds[edge.target], ahead=ahead)}
                made = lay_out(design.graph, design.target, design.name, larger)
                # no queue there is the best that can come of it; finding out takes a while
                least = {key(e): e.queue for e in design.edges} | {key(edge): SHALLOW}
                if _memory(made.with_queues(least), fabric) >= _memory(design, fabric):
                    break
                made = with_deep_queues(made)
                if _memory(made, fabric) < _memory(design, fabric):
                    design = made
                break
    return design


def _memory(design: Design, fabric: Fabric) -> tuple[int, float]:
    """Block memories, then LUTs."""
    found = design_resources(design, fabric)
    return found.bram, found.lut
