# SPDX-License-Identifier: Apache-2.0
"""The integer network: frozen nodes in topological order, one output tensor each.

A tensor is named after the node that makes it. Activations are NHWC without the batch axis:
``(H, W, C)`` or ``(C,)``. Scale and zero point describe a tensor to people and convert the
network's input and output; no arithmetic inside reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..hw_models.work import Work
from .errors import UsageError
from .ops.base import Op, TensorInfo


@dataclass(frozen=True, eq=False)
class Node:
    """One operator with its inputs by name and its output tensor.

    Attributes:
        name: unique in the graph.
        op: what is computed, with all constants.
        inputs: names of the nodes whose outputs are read.
        output: shape, type, scale and zero point of the result.
        source: path of the module in the user's model, for messages and reports.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: TensorInfo
    source: str = ""

    @classmethod
    def make(
        cls,
        name: str,
        op: Op,
        inputs: tuple[Node, ...],
        *,
        scale: float | None = None,
        zero: int | None = None,
        source: str = "",
    ) -> Node:
        """Build a node, inferring shape and type; scale and zero default to the first input's."""
        shape, type_ = op.infer([node.output for node in inputs])
        if scale is None:
            scale = inputs[0].output.scale if inputs else 1.0
        if zero is None:
            zero = inputs[0].output.zero if inputs else 0
        info = TensorInfo(shape, type_, float(scale), int(zero))
        return cls(name, op, tuple(node.name for node in inputs), info, source or name)


@dataclass(frozen=True, eq=False)
class Graph:
    """An integer network with one input and one output.

    Attributes:
        name: a label for reports.
        nodes: in topological order; the first is the input.
        output: name of the node whose tensor leaves the network.
    """

    name: str
    nodes: tuple[Node, ...]
    output: str

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def __getitem__(self, name: str) -> Node:
        if name not in self.by_name:
            raise UsageError(f"{name}: no such node; known nodes: {', '.join(self.by_name)}")
        return self.by_name[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @property
    def input_node(self) -> Node:
        """The node that brings the network's input."""
        return self.nodes[0]

    @property
    def output_node(self) -> Node:
        """The node that makes the network's output."""
        return self[self.output]

    def inputs_of(self, node: Node) -> list[TensorInfo]:
        """Tensors that a node reads."""
        return [self[name].output for name in node.inputs]

    def consumers(self, name: str) -> list[Node]:
        """Nodes that read the tensor of ``name``."""
        return [node for node in self.nodes if name in node.inputs]

    def works(self, kernels: Sequence[str] = ()) -> list[tuple[str, Work]]:
        """Work of every node that computes something, in order, for cost tables.

        Args:
            kernels: kernel families of the table's target; their loops count other features.
        """
        found = []
        for node in self.nodes:
            work = node.op.work(self.inputs_of(node), node.output, kernels)
            if work is not None:
                found.append((node.name, work))
        return found

    def with_nodes(self, nodes: tuple[Node, ...]) -> Graph:
        """A copy with other nodes."""
        return replace(self, nodes=nodes)

    @cached_property
    def model_id(self) -> str:
        """SHA-256 over every integer and every connection; names and paths of people stay out."""
        digest = hashlib.sha256()
        index = {node.name: i for i, node in enumerate(self.nodes)}
        for node in self.nodes:
            wires = [index[name] for name in node.inputs]
            digest.update(f"{node.op.kind}{wires}{node.output}".encode())
            node.op.update_digest(digest)
        digest.update(str(index[self.output]).encode())
        return digest.hexdigest()

    def dump(self) -> str:
        """Stable text, one line a node."""
        lines = [f"graph {self.name} -> {self.output}"]
        for node in self.nodes:
            shape = "x".join(str(size) for size in node.output.shape)
            lines.append(
                f"{node.name}: {node.output.type} [{shape}] scale {node.output.scale:.9g} zero"
                f" {node.output.zero} = {node.op.describe()}({', '.join(node.inputs)})"
                f"  # {node.source}"
            )
        return "\n".join(lines) + "\n"
