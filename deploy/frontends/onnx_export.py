# SPDX-License-Identifier: Apache-2.0
"""Writes a graph as a QONNX model that computes the same integers in real arithmetic.

Tensors of the file hold codes: float32 with whole numbers, channels first. Products of codes and
weights stay below 2^24, where float32 is exact; the requantisation rule is written out in float64,
where it is exact as well (docs/onnx.md). Widths are declared by Quant and BipolarQuant nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..check import check
from ..errors import UnsupportedError, UsageError
from ..extras import require
from ..graph import Graph, Node
from ..ops.base import TensorInfo
from ..requant import Requant
from ..types import IntType

OPSET = 13
QONNX = "qonnx.custom_op.general"
ONE, DOUBLE = "FLOAT", "DOUBLE"
CHANNELS_LAST = (0, 2, 3, 1)
CHANNELS_FIRST = (0, 3, 1, 2)


def export_onnx(graph: Graph, path: Path | str, *, batch: int = 1) -> None:
    """Write a graph as a QONNX file.

    Its input and output are codes as float32, shaped (1, C, H, W) or (1, C). Every node's codes
    are in the tensor that has the node's name. Scales and zero points are in the metadata
    (``adaqat.input``, ``adaqat.output``: two numbers).

    Args:
        graph: the network.
        path: a file to write; an existing one is replaced, whole or not at all.
        batch: samples of one run.

    Raises:
        UnsupportedError: every operator that has no ONNX form, at once.
        ToolError: the onnx package is not installed.
        UsageError: a path that cannot be written.
    """
    data = model_proto(graph, batch).SerializeToString()
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"{path}: cannot be written ({error.strerror}); give a file in an existing folder"
        ) from error


def model_proto(graph: Graph, batch: int = 1) -> Any:
    """The model as onnx's ModelProto."""
    from .onnx_writers import WRITERS

    onnx = require("onnx", "onnx")
    check(graph)
    known = ", ".join(sorted(WRITERS))
    problems = [
        f"{node.source}: operator {node.op.kind}; {known} have an ONNX form;"
        + (" import the model with native rounding" if node.op.kind.startswith("tflite_")
           else " replace it or cut the network")
        for node in graph.nodes if node.op.kind not in WRITERS
    ]  # fmt: skip
    problems += [
        f"{node.source}: {node.output.type} activations; 1 to 8 bits are supported in ONNX;"
        " requantise before it"
        for node in graph.nodes if node.output.wide
    ]  # fmt: skip
    file = File(onnx, graph, batch)
    for node in graph.nodes if not problems else ():
        try:
            WRITERS[node.op.kind](file, node)
        except UnsupportedError as error:
            problems += [f"{node.source}: {problem}" for problem in error.problems]
            file.at[node.name] = node.name  # so that later nodes are written too
    if problems:
        raise UnsupportedError(problems)
    return file.model()


def onnx_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """With a batch of 1 in front, and channels first for maps."""
    return (1, shape[2], *shape[:2]) if len(shape) == 3 else (1, *shape)


class File:
    """Nodes, constants and shapes written so far.

    Attributes:
        graph: what is written.
        infos: shape and type of every tensor.
    """

    def __init__(self, onnx: Any, graph: Graph, batch: int = 1) -> None:
        self.onnx = onnx
        self.batch = batch
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.infos: dict[str, Any] = {}
        self.fixed: set[str] = set()  # tensors without a batch: weights
        self.taken = {node.name for node in graph.nodes}
        self.at: dict[str, str] = {}

    def info(self, node: Node, position: int = 0) -> TensorInfo:
        """What a node reads."""
        return self.graph[node.inputs[position]].output

    def codes(self, node: Node, position: int = 0) -> str:
        """Name of the tensor of codes that a node reads."""
        return self.at[node.inputs[position]]

    def name(self, hint: str) -> str:
        """A new tensor name."""
        name, count = hint, 1
        while name in self.taken:
            count += 1
            name = f"{hint}_{count}"
        self.taken.add(name)
        return name

    def constant(self, hint: str, values: Any, dtype: Any = np.float32) -> str:
        """A constant's name."""
        name = self.name(hint)
        array = np.asarray(values, dtype)
        self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def op(
        self, kind: str, inputs: Sequence[str], name: str, shape: Sequence[int], *,
        type_: str = ONE, domain: str = "", **attrs: Any,
    ) -> str:  # fmt: skip
        """Append a node with one result (of that shape for one sample); returns its name."""
        helper, tensor = self.onnx.helper, self.onnx.TensorProto
        self.nodes.append(
            helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attrs)
        )
        samples = shape if name in self.fixed else (self.batch, *shape[1:])
        self.infos[name] = helper.make_tensor_value_info(name, getattr(tensor, type_), samples)
        return name

    def step(
        self, node: Node, kind: str, inputs: Sequence[str], shape: Sequence[int],
        type_: str = ONE, hint: str = "", **attrs: Any,
    ) -> str:  # fmt: skip
        """`op` with a name made from the node's."""
        name = self.name(f"{node.name}/{hint or kind.lower()}")
        return self.op(kind, inputs, name, shape, type_=type_, **attrs)

    def cast(self, node: Node, x: str, shape: Sequence[int], type_: str, *,
             fixed: bool = False) -> str:  # fmt: skip
        """A tensor in another element type; ``fixed`` for one without a batch."""
        to = int(getattr(self.onnx.TensorProto, type_))
        name = self.name(f"{node.name}/cast")
        if fixed:
            self.fixed.add(name)
        return self.op("Cast", [x], name, shape, type_=type_, to=to)

    def binary(self, node: Node, kind: str, x: str, values: Any, hint: str,
               shape: Sequence[int], type_: str = DOUBLE) -> str:  # fmt: skip
        """A tensor plus or times a constant."""
        dtype = np.float64 if type_ == DOUBLE else np.float32
        constant = self.constant(f"{node.name}/{hint}", values, dtype)
        return self.step(node, kind, [x, constant], shape, type_)

    def quant(self, x: str, name: str, shape: Sequence[int], type_: IntType, *,
              step: float = 1.0, zero: float = 0.0) -> str:  # fmt: skip
        """A Quant node that declares a width.

        QONNX takes one signed bit for -1 and +1; the codes -1 and 0 are an unsigned one less 1.
        """
        if type_ == IntType(1, True):
            type_, zero = IntType(1, False), 1.0
        inputs = [x, *(self.constant(f"{name}/{hint}", value) for hint, value in
                       (("step", step), ("zero", zero), ("bits", type_.bits)))]  # fmt: skip
        return self.op("Quant", inputs, name, shape, domain=QONNX, signed=int(type_.signed),
                       narrow=0, rounding_mode="ROUND")  # fmt: skip

    def result(self, node: Node, x: str, type_: str = ONE) -> None:
        """Declare a tensor of codes as the result of a graph node."""
        shape = onnx_shape(node.output.shape)
        if type_ != ONE:
            x = self.cast(node, x, shape, ONE)
        self.at[node.name] = self.quant(x, node.name, shape, node.output.type)

    def shifted(self, node: Node, t: str, s: Any, z: Any, lo: int, hi: int) -> None:
        """The rule behind its products: ``clamp(floor(t * 2^-s) + z, lo, hi)``."""
        shape = onnx_shape(node.output.shape)
        t = self.binary(node, "Mul", t, np.ldexp(1.0, -np.asarray(s)), "2^-s", shape)
        t = self.step(node, "Floor", [t], shape, DOUBLE)
        t = self.binary(node, "Add", t, z, "z", shape)
        ends = [self.constant(f"{node.name}/{n}", v, np.float64) for n, v in
                (("lo", lo), ("hi", hi))]  # fmt: skip
        t = self.step(node, "Clip", [t, *ends], shape, DOUBLE)
        self.result(node, t, DOUBLE)

    def requantised(self, node: Node, acc: str, rule: Requant, type_: str = ONE) -> None:
        """The requantisation rule, one ONNX node for each of its operations."""
        shape = onnx_shape(node.output.shape)

        def lined(values: NDArray[np.int64]) -> NDArray[np.int64]:
            return values.reshape(1, -1, 1, 1) if len(shape) == 4 else values

        t = acc if type_ == DOUBLE else self.cast(node, acc, shape, DOUBLE)
        t = self.binary(node, "Mul", t, 1 << rule.p, "2^p", shape)
        t = self.binary(node, "Add", t, lined(rule.bias), "bias", shape)
        t = self.binary(node, "Mul", t, lined(rule.m), "m", shape)
        t = self.binary(node, "Add", t, lined(np.int64(1) << (rule.s - 1)), "half", shape)
        self.shifted(node, t, lined(rule.s), lined(rule.z), rule.lo, rule.hi)

    def last(self, node: Node, x: str, shape: tuple[int, ...]) -> str:
        """A tensor in the graph's order of axes; ``shape`` is the graph's."""
        if len(shape) != 3:
            return x
        return self.step(node, "Transpose", [x], (1, *shape), perm=CHANNELS_LAST)

    def model(self) -> Any:
        """The finished model."""
        helper, tensor = self.onnx.helper, self.onnx.TensorProto
        given, made = self.graph.input_node, self.graph.output_node
        source = helper.make_tensor_value_info(
            f"{given.name}/codes", tensor.FLOAT, (self.batch, *onnx_shape(given.output.shape)[1:]),
        )
        output = self.infos.pop(made.name)
        proto = helper.make_model(
            helper.make_graph(
                self.nodes, self.graph.name, [source], [output], list(self.constants.values()),
                value_info=list(self.infos.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX, 1)],
            producer_name="adaqat-deploy",
        )  # fmt: skip
        proto.ir_version = 8
        facts = {
            "adaqat.input": given, "adaqat.output": made,
            **{f"adaqat.grid.{node.name}": node for node in self.graph.nodes[1:]},
        }  # fmt: skip
        helper.set_model_props(
            proto, {k: f"{n.output.scale!r} {n.output.zero}" for k, n in facts.items()}
        )
        return proto


Write = Callable[[File, Node], None]
