# SPDX-License-Identifier: Apache-2.0
"""Imports full-integer .tflite models.

``rounding="tflite"`` computes what LiteRT's reference kernels (resolver BUILTIN_REF) compute, byte
for byte in every tensor; ``rounding="native"`` uses this project's own rule, for which the fast
kernels are written, and may differ by a code here and there (`compare_roundings` counts them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..check import check
from ..errors import ModelFileError, UnsupportedError, UsageError
from ..graph import Graph, Node
from ..ops.base import Op
from ..ops.source import Input, Reshape
from ..passes import run_passes
from ..passes.drop_constant_channels import drop_constant_channels
from ..render import label
from ..requant import Int64
from ..types import IntType
from .flatbuffer import FlatBufferError
from .tflite_constants import ACTIVATIONS, activation_limits
from .tflite_file import TfModel, TfOperator, TfTensor, read_model

ROUNDINGS = ("tflite", "native")
INT8 = IntType(8, True)
INT16 = IntType(16, True)


class Unreadable(Exception):
    """``found; supported; what to do`` of one operator; collected by the importer."""


@dataclass(frozen=True)
class Imported:
    """A graph and where the file's tensors are in it.

    Attributes:
        graph: checked and cleaned.
        tensors: node name by tensor index, for the tensors that operators make.
    """

    graph: Graph
    tensors: dict[int, str]


def import_tflite(path: Path | str, *, rounding: str = "tflite") -> Graph:
    """Read a .tflite file and remove channels that are constant (`drop_constant_channels`).

    Args:
        path: a full-integer (int8) model with one input and one output, batch 1.
        rounding: ``tflite`` or ``native``, see the module.

    Raises:
        ModelFileError: missing, truncated or foreign.
        UnsupportedError: every operator that cannot be expressed, at once.
        UsageError: an unknown rounding.
    """
    return check(drop_constant_channels(read_tflite(path, rounding=rounding).graph))


def read_tflite(path: Path | str, *, rounding: str = "tflite") -> Imported:
    """The graph with every channel of the file, and the map from tensors to nodes."""
    if rounding not in ROUNDINGS:
        raise UsageError(f"rounding: {rounding!r}; {' and '.join(ROUNDINGS)} are supported")
    model = read_model(Path(path))
    builder = Builder(model, exact=rounding == "tflite")
    try:
        builder.run()
    except (FlatBufferError, IndexError, OverflowError, ValueError, ZeroDivisionError) as error:
        raise ModelFileError(
            f"{path}: inconsistent TFLite file, operator {builder.operator.index}"
            f" ({builder.operator.name}): {error}; export the model again"
        ) from error
    if builder.problems:
        raise UnsupportedError(builder.problems)
    name = label(Path(path).stem)
    graph = Graph(name, tuple(builder.nodes), builder.at[model.outputs[0]].name)
    graph = run_passes(graph)
    made = {
        index: builder.at[index].name
        for op in model.operators
        for index in op.outputs
        if op.name != "DEQUANTIZE" and index in builder.at
    }
    return Imported(graph, {i: name for i, name in made.items() if name in graph.by_name})


class Builder:
    """Nodes so far, by tensor index; operators read their tensors through it."""

    def __init__(self, model: TfModel, *, exact: bool) -> None:
        self.model = model
        self.exact = exact
        self.nodes: list[Node] = []
        self.at: dict[int, Node] = {}
        # int32 indices of a GATHER: codes, and what is added to them
        self.indices: dict[int, tuple[Node, Int64]] = {}
        self.problems: list[str] = []
        self.operator: TfOperator = model.operators[0]  # the one being read

    def run(self) -> None:
        """Read the input and every operator, collecting problems."""
        from .tflite_readers import READERS

        self._structure()
        if self.problems:
            return
        self._input()
        for operator in self.model.operators:
            self.operator = operator
            where = f"{self.tensor(operator.outputs[0]).name} ({operator.name})"
            reader: Callable[[Builder, TfOperator], None] | None = READERS.get(operator.name)
            if reader is None:
                known = ", ".join(sorted(READERS))
                self.problems.append(
                    f"{where}: operator {operator.name}; {known} are supported; replace it or cut"
                    " the model before it"
                )
                self._stand_in(operator)
                continue
            try:
                reader(self, operator)
            except Unreadable as error:
                self.problems.append(f"{where}: {error}")
                self._stand_in(operator)
            except UnsupportedError as error:
                self.problems += [f"{where}: {problem}" for problem in error.problems]
                self._stand_in(operator)

    def _structure(self) -> None:
        model = self.model
        if model.subgraphs != 1:
            self.problems.append(
                f"model: {model.subgraphs} subgraphs; one is supported; export it without control"
                " flow"
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            self.problems.append(
                f"model: {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each"
                " is supported; cut the model"
            )
        for operator in model.operators:
            if len(operator.outputs) != 1 and operator.name != "SPLIT":
                self.problems.append(
                    f"{self.tensor(operator.outputs[0]).name}: {operator.name} with"
                    f" {len(operator.outputs)} outputs; one is supported; replace it"
                )

    def _input(self) -> None:
        tensor = self.tensor(self.model.inputs[0])
        if tensor.type == "float32":  # the QUANTIZE behind it makes the codes
            first = next((o for o in self.model.operators if tensor.index in o.inputs), None)
            if first is not None and first.name == "QUANTIZE":
                tensor = self.tensor(first.outputs[0])
        shape = self.shape(tensor)
        type_, scale, zero = self.grid(tensor, any_sign=True)
        layout = "NC" if len(shape) == 1 else "NHWC"
        node = Node.make("input", Input(shape, type_, layout), (), scale=scale, zero=zero,
                         source=tensor.name)  # fmt: skip
        self.nodes.append(node)
        self.at[self.model.inputs[0]] = self.at[tensor.index] = node

    def _stand_in(self, operator: TfOperator) -> None:
        """A node for the result of an operator that failed, so that later ones are read too."""
        for index in operator.outputs:
            tensor = self.tensor(index)
            shape = tensor.shape[1:] or (1,)
            scale = float(tensor.scale[0]) if len(tensor.scale) == 1 else 1.0
            zero = int(tensor.zero[0]) if len(tensor.zero) == 1 else 0
            self.at[index] = Node.make(f"failed_{index}", Input(shape, INT8, "NHWC"), (),
                                       scale=scale, zero=zero)  # fmt: skip

    def tensor(self, index: int) -> TfTensor:
        """A tensor by index."""
        return self.model.tensors[index]

    def source(self, operator: TfOperator, position: int = 0) -> Node:
        """The node that makes an operator's input."""
        index = operator.inputs[position]
        if index not in self.at:
            raise Unreadable(
                f"input {position} is no computed tensor; computed activations are supported"
                " there; fold the constant"
            )
        return self.at[index]

    def constant(self, operator: TfOperator, position: int) -> TfTensor:
        """A constant input of an operator."""
        found = len(operator.inputs) > position and operator.inputs[position] >= 0
        tensor = self.tensor(operator.inputs[position]) if found else None
        if tensor is None or tensor.data is None:
            raise Unreadable(f"input {position} is not constant; a constant is supported there")
        return tensor

    def values(self, operator: TfOperator, position: int) -> list[int]:
        """A small constant integer vector (axes, shapes, paddings)."""
        data: Any = self.constant(operator, position).data
        return [int(v) for v in np.asarray(data).reshape(-1)]

    def shape(self, tensor: TfTensor) -> tuple[int, ...]:
        """Shape without the batch axis."""
        if len(tensor.shape) < 2 or tensor.shape[0] != 1:
            raise UnsupportedError(
                [f"{tensor.name}: shape {tensor.shape}; a batch of 1 in front is supported; export"
                 " the model with batch 1"]
            )  # fmt: skip
        return tensor.shape[1:]

    def grid(self, tensor: TfTensor, *, any_sign: bool = False) -> tuple[IntType, float, int]:
        """(type, scale, zero point) of an activation."""
        types = {"int8": INT8, "int16": INT16}
        if any_sign:
            types["uint8"] = IntType(8, False)
        if tensor.type not in types or len(tensor.scale) != 1:
            raise UnsupportedError(
                [f"{tensor.name}: {tensor.type} with {len(tensor.scale)} scales; int8 and int16"
                 " activations with one scale are supported; quantise the whole model to int8"]
            )  # fmt: skip
        type_, scale, zero = types[tensor.type], float(tensor.scale[0]), int(tensor.zero[0])
        if not (0 < scale < np.inf and type_.lo <= zero <= type_.hi) or (type_ == INT16 and zero):
            raise UnsupportedError(
                [f"{tensor.name}: scale {scale:g} and zero point {zero} of {tensor.type} codes;"
                 " positive scales and zero points within the type (0 of int16) are supported;"
                 " export it again"]
            )  # fmt: skip
        return type_, scale, zero

    def limits(self, activation: int, tensor: TfTensor) -> tuple[int, int]:
        """Code limits of a fused activation on the output's grid (float32, as TFLite computes)."""
        type_, _, zero = self.grid(tensor)
        if activation not in ACTIVATIONS:
            raise Unreadable(
                f"fused activation number {activation}; none, RELU, RELU_N1_TO_1 and RELU6 are"
                " supported; use a separate operator"
            )
        return activation_limits(activation, type_, float(tensor.scale[0]), zero)

    def add(self, operator: TfOperator, op: Op, inputs: tuple[Node, ...]) -> Node:
        """Append the node of an operator's (first) output."""
        return self.add_tensor(operator.outputs[0], op, inputs)

    def add_tensor(self, index: int, op: Op, inputs: tuple[Node, ...]) -> Node:
        """Append the node that makes a tensor, after comparing its shape with the file's."""
        tensor = self.tensor(index)
        _, scale, zero = self.grid(tensor, any_sign=True)
        node = self.step(f"{op.kind}_{index}", op, inputs, scale, zero, tensor.name)
        wanted = self.shape(tensor)
        if node.output.shape != wanted:
            raise Unreadable(
                f"shape {node.output.shape} computed, {wanted} declared; they must agree; export"
                " the model again"
            )
        self.at[index] = node
        return node

    def step(
        self, name: str, op: Op, inputs: tuple[Node, ...], scale: float, zero: int, source: str
    ) -> Node:
        """Append a node."""
        node = Node.make(name, op, inputs, scale=scale, zero=zero, source=source)
        self.nodes.append(node)
        return node

    def flat(self, node: Node) -> Node:
        """A node as a vector."""
        if len(node.output.shape) == 1:
            return node
        out = node.output
        return self.step(f"{node.name}_flat", Reshape((out.size,)), (node,), out.scale, out.zero,
                         node.source)  # fmt: skip
