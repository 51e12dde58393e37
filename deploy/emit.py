# SPDX-License-Identifier: Apache-2.0
"""Graph and target to text: what every emitted C file says; templates only print it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from .arena import plan_arena, roots_of
from .graph import Graph, Node
from .kernel_choice import choose_kernels
from .memory import MemoryPlan
from .ops.base import CPlan, TensorInfo
from .render import c_name, comment, label, render
from .setting import Setting
from .targets import Target
from .types import IntArray


@dataclass(frozen=True)
class EmittedNode:
    """One node function.

    Attributes:
        node: the graph node.
        ident: C identifier of the function.
        plan: what its template prints.
        body: the function's text.
        call: arguments of its call.
        result: pointer to its tensor in the run function.
        title: comment line.
    """

    node: Node
    ident: str
    plan: CPlan
    body: str
    call: tuple[str, ...]
    result: str
    title: str

    @property
    def bytes_(self) -> int:
        """Bytes of the result."""
        return self.node.output.bytes_


@dataclass(frozen=True)
class CModel:
    """A graph laid out for C: functions, memory, and the facts of the banner."""

    graph: Graph
    name: str
    target: Target
    nodes: tuple[EmittedNode, ...]
    memory: MemoryPlan
    helpers: tuple[str, ...]
    setting: Setting = Setting.speed

    @property
    def const_bytes(self) -> int:
        """Bytes of all constant arrays and records."""
        return sum(array_bytes(node.plan) for node in self.nodes)

    @property
    def ram_words(self) -> int:
        """Words of the context; never 0, so that the C array is legal."""
        return max(1, self.memory.size // 4)


def array_bytes(plan: CPlan) -> int:
    """Bytes of a node's constant arrays and records."""
    sizes = {"uint8_t": 1, "int8_t": 1, "uint16_t": 2, "int16_t": 2, "int32_t": 4, "uint32_t": 4,
             "int64_t": 8}  # fmt: skip
    arrays = sum(sizes[array.c_type] * len(array.values) for array in plan.arrays)
    return arrays + plan.record_bytes


def layout(graph: Graph, target: Target, name: str, optimise: str = "speed") -> CModel:
    """Plan memory and text of every node.

    Args:
        graph: the network.
        target: the device.
        name: prefix of every C symbol.
        optimise: "speed", "size" or "ram".

    Raises:
        UsageError: a name that is no C prefix, an unknown setting.
        UnsupportedError: an operator without a template for this target.
    """
    c_name(name)
    setting = Setting.of(optimise)
    plans = choose_kernels(graph, target, setting)
    roots = roots_of(graph)
    memory = plan_arena(graph, plans)
    emitted: list[EmittedNode] = []
    helpers: dict[str, None] = {}
    for step, (node_name, (plan, template)) in enumerate(plans.items()):
        node = graph[node_name]
        inputs = graph.inputs_of(node)
        ident = f"{name}_n{step}_{label(node.name)}"
        for helper, parameters in plan.helpers:
            text = render(f"c/helpers/{helper}.c.j2", name=name, **dict(parameters))
            helpers.setdefault(text)
        places = [
            _place(graph, roots[source], memory, info)
            for source, info in zip(node.inputs, inputs, strict=True)
        ]
        result = _place(graph, node_name, memory, node.output, graph.output, roots)
        call = [*places, result]
        if plan.scratch:
            offset = memory.offsets[f"{node_name} scratch"]
            call.append(_pointer(inputs[0].type.c_name, offset))
        body = render(
            template,
            name=name,
            macro=name.upper(),
            ident=ident,
            inputs=[info.type.c_name for info in inputs],
            output=node.output.type.c_name,
            v=plan.values,
        )
        emitted.append(
            EmittedNode(node, ident, plan, body, tuple(call), result, _title(node, inputs))
        )
    return CModel(graph, name, target, tuple(emitted), memory, tuple(helpers), setting)


def _place(
    graph: Graph,
    root: str,
    memory: MemoryPlan,
    info: TensorInfo,
    output: str | None = None,
    roots: Mapping[str, str] | None = None,
) -> str:
    if root == graph.input_node.name:
        return "input"
    if root not in memory.offsets:
        return "output"
    return _pointer(info.type.c_name, memory.offsets[root])


def _pointer(c_type: str, offset: int) -> str:
    return f"({c_type} *)&ctx->words[{offset // 4}]"


def _title(node: Node, inputs: list[TensorInfo]) -> str:
    """For example ``conv1: u8 [32][32][3] x w4 -> u4 [32][32][16], 110592 MACs``."""
    sources = ", ".join(f"{info.type} {_brackets(info.shape)}" for info in inputs)
    weights = f" x w{node.op.weight_bits}" if node.op.weight_bits else ""
    result = f"{node.output.type} {_brackets(node.output.shape)}"
    return comment(f"{node.source} ({node.op.kind}): {sources}{weights} -> {result}")


def _brackets(shape: tuple[int, ...]) -> str:
    return "".join(f"[{size}]" for size in shape)


def _ports(graph: Graph) -> list[dict[str, object]]:
    ports = []
    for word, node in (("input", graph.input_node), ("output", graph.output_node)):
        info = node.output
        names = {1: "channel", 3: "row, column, channel"}
        ports.append(
            {
                "word": word,
                "macro": word.upper(),
                "title": word.capitalize(),
                "c_type": info.type.c_name,
                "bits": info.type.bits,
                "shape": info.shape,
                "layout": names.get(len(info.shape), "channels last"),
                "lo": info.type.lo,
                "hi": info.type.hi,
                "scale": f"{info.scale:.9g}" if "." in f"{info.scale:.9g}" or "e" in
                f"{info.scale:.9g}" else f"{info.scale:.1f}",
                "zero": info.zero,
                "size": info.size,
            }
        )  # fmt: skip
    return ports


def facts(model: CModel) -> dict[str, object]:
    """What banner, header and README of the emitted folder state."""
    works = [work for _, work in model.graph.works()]
    return {
        "name": model.name,
        "macro": model.name.upper(),
        "version": version(),
        "id": model.graph.model_id,
        "target": model.target.name,
        "macs": sum(work.macs for work in works),
        "weights": sum(node.op.weight_count for node in model.graph.nodes),
        "const_bytes": model.const_bytes,
        "ram_bytes": 4 * model.ram_words,
        "ram_words": model.ram_words,
        "ports": _ports(model.graph),
    }


def version() -> str:
    """Version of the installed distribution, or of the checkout it runs from."""
    try:
        return metadata.version("adaqat-deploy")
    except metadata.PackageNotFoundError:
        return "0.1.0"


def sources(model: CModel, vector: tuple[IntArray, IntArray]) -> dict[str, str]:
    """Texts of the C files by name.

    Args:
        model: the laid-out graph.
        vector: one (input, output) pair of codes for the self test, without batch axis.
    """
    stated = facts(model)
    nodes = [
        {
            "ident": node.ident, "plan": node.plan, "body": node.body, "call": node.call,
            "result": node.result, "bytes": node.bytes_, "title": node.title,
        }
        for node in model.nodes
    ]  # fmt: skip
    flat = {
        "input": [int(v) for v in vector[0].reshape(-1)],
        "output": [int(v) for v in vector[1].reshape(-1)],
    }
    return {
        f"{model.name}.h": render("c/model.h.j2", model=stated),
        f"{model.name}.c": render("c/model.c.j2", model=stated, nodes=nodes, helpers=model.helpers),
        f"{model.name}_self_test.c": render("c/self_test.c.j2", model=stated, vector=flat),
    }
