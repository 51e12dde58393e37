# SPDX-License-Identifier: Apache-2.0
"""A graph as modules and the streams between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import gcd

from ...hw_models import load_fabric
from ..errors import UnsupportedError
from ..graph import Graph, Node
from ..render import label
from ..targets import Target
from .gather import Gather, plan_gather
from .plan import Fold, Port, RtlPlan

INPUT, OUTPUT = "input", "output"
"""The ends of the design, as names of modules in edges."""
INPUT_BITS = 64
"""The network's input stream carries as many channels a beat as fit into this."""


@dataclass(frozen=True, eq=False)
class Module:
    """One node as a module.

    Attributes:
        node: the graph node.
        ident: Verilog identifier.
        fold: how much of it works at once.
        plan: what its template prints.
    """

    node: Node
    ident: str
    fold: Fold
    plan: RtlPlan


@dataclass(frozen=True)
class Collector:
    """Parameters of a ``collect`` module."""

    pieces: int
    words: int
    last: int


@dataclass(frozen=True)
class Edge:
    """A stream from one module to one input of another.

    Attributes:
        source: name of the producing node, or `INPUT`.
        target: name of the consuming node, or `OUTPUT`.
        slot: which input of the target.
        queue: depth of the queue at its start; 0 where the producer has this consumer alone.
        beat: bits of a beat as produced.
        piece: bits of a piece, when the beat is cut.
        cut: pieces of a produced beat, 1 without cutting.
        collect: how pieces become beats of the consumer, None where they are.
        repeat: how blocks of them are given several times, None where once.
    """

    source: str
    target: str
    slot: int
    queue: int
    beat: int
    piece: int
    cut: int
    collect: Collector | None
    repeat: Gather | None = None


@dataclass(frozen=True, eq=False)
class Design:
    """A whole network as a circuit.

    Attributes:
        graph: the network.
        name: prefix of every module.
        target: the device family.
        modules: in topological order.
        edges: all streams.
        input: stream at the network's input.
        output: stream at its output.
    """

    graph: Graph
    name: str
    target: Target
    modules: tuple[Module, ...]
    edges: tuple[Edge, ...]
    input: Port
    output: Port

    def leaving(self, source: str) -> list[Edge]:
        """Streams from a module."""
        return [edge for edge in self.edges if edge.source == source]

    def with_queues(self, depths: Mapping[tuple[str, str, int], int]) -> Design:
        """A copy with other queue depths, by (source, target, slot)."""
        edges = tuple(
            replace(edge, queue=depths.get((edge.source, edge.target, edge.slot), edge.queue))
            for edge in self.edges
        )
        return replace(self, edges=edges)


def lay_out(
    graph: Graph, target: Target, name: str, folds: Mapping[str, Fold]
) -> Design:
    """Plan every module and join them; queues of forks get depth 2.

    Args:
        graph: the checked network.
        target: an FPGA target.
        name: prefix of every module.
        folds: by node name; nodes left out work on one channel at a time.

    Raises:
        UnsupportedError: operators without Verilog, or foldings that do not work, all of them.
    """
    modules: dict[str, Module] = {}
    problems: list[str] = []
    fabric = load_fabric(target.name)
    for node in graph.nodes:
        inputs = graph.inputs_of(node)
        if node.op.passes_through or node.op.kind == "input":
            continue
        if any(info.wide for info in (*inputs, node.output)):
            problems.append(
                f"{node.source}: {node.output.type} activations; 1 to 8 bits are supported in"
                " Verilog; deploy to a processor"
            )
            continue
        fold = replace(
            folds.get(node.name, Fold()), deep=fabric.deep, levels=fabric.adder_levels
        )
        try:
            plan = node.op.rtl_plan(inputs, node.output, fold)
        except UnsupportedError as error:
            problems += [f"{node.source}: {problem}" for problem in error.problems]
            continue
        if plan is None:
            problems.append(
                f"{node.source}: operator {node.op.kind} has no Verilog template; see the table of"
                " supported operators; replace it, or deploy to a processor"
            )
            continue
        ident = f"{name}_n{len(modules)}_{label(node.name)}"
        modules[node.name] = Module(node, ident, fold, plan)
    if problems:
        raise UnsupportedError(problems)
    source = _input_port(graph, modules)
    edges = _edges(graph, modules, source)
    last = modules[_root(graph, graph.output)].plan.output
    return Design(graph, name, target, tuple(modules.values()), tuple(edges), source, last)


def _root(graph: Graph, name: str) -> str:
    node = graph[name]
    while node.op.passes_through:
        node = graph[node.inputs[0]]
    return node.name


def _input_port(graph: Graph, modules: Mapping[str, Module]) -> Port:
    """As many lanes as the first consumer reads at once, where they divide the channels."""
    info = graph.input_node.output
    channels = info.shape[-1]
    root = graph.input_node.name
    lanes = [
        gcd(channels, gcd(port.lanes, port.segment))
        for module in modules.values()
        for name, port in zip(module.node.inputs, module.plan.inputs, strict=True)
        if _root(graph, name) == root
    ]
    fitting = [n for n in lanes if n * info.type.bits <= INPUT_BITS] or [1]
    return Port(max(fitting), channels, channels, info.size // channels, info.type.bits)


def _edges(graph: Graph, modules: Mapping[str, Module], source: Port) -> list[Edge]:
    found: list[tuple[str, str, int, Port, Port]] = []
    start = graph.input_node.name
    for module in modules.values():
        for slot, name in enumerate(module.node.inputs):
            root = _root(graph, name)
            given = source if root == start else modules[root].plan.output
            made = INPUT if root == start else root
            found.append((made, module.node.name, slot, given, module.plan.inputs[slot]))
    last = _root(graph, graph.output)
    port = modules[last].plan.output
    found.append((last, OUTPUT, 0, port, port))
    sources = [item[0] for item in found]
    return [
        _edge(made, target, slot, given, wanted, 2 if sources.count(made) > 1 else 0)
        for made, target, slot, given, wanted in found
    ]


def _edge(source: str, target: str, slot: int, given: Port, wanted: Port, queue: int) -> Edge:
    """Beats of ``given`` as beats of ``wanted``: cut to a common divisor, collected, repeated."""
    segment, lanes = wanted.segment, wanted.lanes
    repeat = (
        plan_gather(wanted.beats, wanted.block, [(wanted.block, 1), (wanted.times, 0)])
        if wanted.times > 1
        else None
    )
    if given.lanes == lanes and segment % lanes == 0:
        return Edge(source, target, slot, queue, given.width, given.width, 1, None, repeat)
    piece = gcd(given.lanes, gcd(lanes, segment))
    words = -(-segment // lanes)
    collect = (
        Collector(lanes // piece, words, (segment - (words - 1) * lanes) // piece)
        if lanes > piece
        else None
    )
    return Edge(
        source, target, slot, queue, given.width, piece * given.bits, given.lanes // piece, collect,
        repeat,
    )  # fmt: skip
