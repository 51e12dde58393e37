# SPDX-License-Identifier: Apache-2.0
"""A graph on an FPGA target, folded, queued and timed: what is emitted, verified and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph
from ..targets import Target
from .design import Design, lay_out
from .folding import choose_folds
from .goals import Goals
from .plan import Fold
from .schedule import Schedule, schedule, with_deep_queues
from .words import verilog_name


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
    folds: Mapping[str, Fold] | None = None,
) -> Circuit:
    """Fold, lay out, queue and time a checked graph.

    Args:
        graph: the network.
        target: an FPGA target.
        name: prefix of every module and file.
        goals: speed and size; the target's usual ones when left out.
        folds: foldings by node name instead of a search.

    Raises:
        UsageError: a name that is no Verilog identifier, or goals that cannot be met together.
        UnsupportedError: operators without Verilog.
    """
    verilog_name(name)
    goals = goals or Goals.of(target)
    chosen = choose_folds(graph, target, goals) if folds is None else folds
    design = with_deep_queues(lay_out(graph, target, name, chosen))
    timed = schedule(design)
    assert timed is not None, "queues of the unbounded design cannot come to a deadlock"
    return Circuit(design, timed, goals)
