# SPDX-License-Identifier: Apache-2.0
"""Which kernel serves each node of a graph on a target, at a setting."""

from __future__ import annotations

from collections.abc import Sequence

from .arena import plan_arena
from .errors import UnsupportedError
from .graph import Graph, Node
from .kernels import FAMILIES
from .ops.base import CPlan, TensorInfo
from .render import exists
from .setting import Setting
from .targets import Target

Chosen = tuple[CPlan, str]
"""(plan, template)."""


def choose_kernels(graph: Graph, target: Target, setting: Setting) -> dict[str, Chosen]:
    """Plan and template of every node that computes something, in order.

    At the setting ram every node first gets the kernel that needs the least scratch memory; then
    those nodes get the compact kernel with its scratch memory that do not enlarge the arena by it.

    Raises:
        UnsupportedError: operators without a template for this target.
    """
    families = setting.families(target.kernels)
    if setting is not Setting.ram:
        return _choose_all(graph, families)
    compact = _choose_all(graph, families)
    lean = _choose_all(graph, [f"{name}_lean" for name in families])
    found = {
        name: min(
            (lean[name], *_of_target(graph, graph[name], target)), key=lambda one: one[0].scratch
        )
        for name in lean
    }
    size = plan_arena(graph, found).size
    works = dict(graph.works())
    for name in sorted(found, key=lambda name: -works[name].macs if name in works else 0):
        if compact[name][0].scratch and found[name][1] == lean[name][1]:
            trial = {**found, name: compact[name]}
            if plan_arena(graph, trial).size <= size:
                found = trial
    return found


def _choose_all(graph: Graph, families: Sequence[str]) -> dict[str, Chosen]:
    plans: dict[str, Chosen] = {}
    problems = []
    for node in graph.nodes:
        chosen = _choose(node, graph.inputs_of(node), families)
        if chosen is None:
            continue
        if exists(chosen[1]):
            plans[node.name] = chosen
        else:
            problems.append(
                f"{node.source}: operator {node.op.kind} has no C template; see the table of"
                " supported operators; replace it"
            )
    if problems:
        raise UnsupportedError(problems)
    return plans


def _choose(node: Node, inputs: list[TensorInfo], families: Sequence[str]) -> Chosen | None:
    """The first of the kernel families that serves the node, else the portable kernel."""
    for family in families:
        planned = FAMILIES[family].plan(node.op, inputs, node.output)
        if planned is not None:
            return planned
    plan = node.op.c_plan(inputs, node.output)
    return None if plan is None else (plan, f"c/ops/{plan.template}.c.j2")


def _of_target(graph: Graph, node: Node, target: Target) -> list[Chosen]:
    """The kernel that the node has at the setting speed, if any."""
    chosen = _choose(node, graph.inputs_of(node), target.kernels)
    return [] if chosen is None else [chosen]
