# SPDX-License-Identifier: Apache-2.0
"""Imports quantised .onnx models: QDQ, QLinear operators, and QONNX (Brevitas exports).

Real tensors between quantisers are not computed; each layer and the quantiser behind it become one
integer operator with this project's requantisation rule (docs/decisions/0001-requantisation.md).
Its integers may differ by a code from what the model's real arithmetic gives (docs/onnx.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..check import check
from ..errors import ModelFileError, UnsupportedError, UsageError
from ..graph import Graph, Node
from ..ops.base import Op
from ..ops.source import Input, Reshape
from ..ops.transpose import Transpose
from ..passes import run_passes
from ..render import label
from ..types import IntType
from .onnx_file import OnnxModel, OnnxNode, printable, read_model
from .onnx_input import read_input, stored_grid
from .onnx_layout import Layout, Shape, node_shape
from .onnx_values import Active, Codes, Const, Pending, Skipped, Sum, Table, Tensor, Unreadable

LARGEST = 1 << 28
"""Values of one tensor; no device here comes near it, and a damaged file must not fill memory."""
Reader = Callable[["Builder", OnnxNode], "Tensor | tuple[Tensor, ...]"]


def import_onnx(path: Path | str, *, output_scale: float | None = None) -> Graph:
    """Read a quantised .onnx file.

    Args:
        path: a model with one input, one output, static sizes and batch 1 (or an open batch).
        output_scale: real size of an output code, for models whose output is not quantised (it
            becomes 8-bit signed with this scale).

    Raises:
        ModelFileError: missing, truncated or foreign.
        UnsupportedError: every node that cannot be expressed, at once.
        ToolError: the onnx package is not installed.
        UsageError: an output scale that is no positive number.
    """
    if output_scale is not None and not 0 < output_scale < float("inf"):
        raise UsageError(
            f"output scale {output_scale:g}: a positive number is needed, the real size of one"
            " output code"
        )
    model = read_model(Path(path))
    builder = Builder(model, output_scale)
    try:
        output = builder.run()
    except (IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelFileError(
            f"{path}: inconsistent ONNX file, node {builder.node.name} ({builder.node.op}):"
            f" {error}; export the model again"
        ) from error
    if builder.problems or output is None:
        raise UnsupportedError(list(dict.fromkeys(builder.problems)))
    graph = Graph(label(Path(path).stem), tuple(builder.nodes), output.name)
    return check(run_passes(graph))


class Builder:
    """Nodes so far and what every ONNX tensor is; readers work through it."""

    def __init__(self, model: OnnxModel, output_scale: float | None = None) -> None:
        self.model = model
        self.output_scale = output_scale
        self.nodes: list[Node] = []
        self.names: set[str] = set()
        self.tensors: dict[str, Tensor] = {}
        self.problems: list[str] = []
        self.failed: set[str] = set()
        self.node: OnnxNode = model.nodes[0]  # the one being read

    def run(self) -> Node | None:
        """Read everything, collecting problems; the node of the output where there are none."""
        self._structure()
        if self.problems:
            return None
        self.tensors = {name: Const(value) for name, value in self.model.constants.items()}
        try:
            self.tensors.update(read_input(self))
        except Unreadable as error:
            self.problems.append(str(error))
            return None
        for node in self.model.nodes:
            self.node = node
            self._read(node)
        if self.problems:
            return None
        return self._output()

    def _structure(self) -> None:
        from .onnx_readers import READERS, unsupported

        inputs, outputs = self.model.inputs, self.model.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            self.problems.append(
                f"model: {len(inputs)} inputs ({', '.join(map(printable, inputs))}) and"
                f" {len(outputs)} outputs; one of each is supported; cut the model"
            )
            self.problems += [unsupported(n) for n in self.model.nodes if n.op not in READERS]

    def _read(self, node: OnnxNode) -> None:
        from .onnx_readers import READERS, unsupported

        reader: Reader | None = READERS.get(node.op)
        where = f"{node.name} ({node.op})"
        try:
            if reader is None:
                self.problems.append(unsupported(node))
                return self._stand_in(node)
            found = reader(self, node)
            results = found if isinstance(found, tuple) else (found,)
        except Skipped:
            return self._stand_in(node)
        except Unreadable as error:
            self.problems.append(f"{where}: {error}")
            return self._stand_in(node)
        except UnsupportedError as error:
            self.problems += [f"{where}: {problem}" for problem in error.problems]
            return self._stand_in(node)
        self.tensors.update(zip(node.outputs, results, strict=False))

    def _stand_in(self, node: OnnxNode) -> None:
        """Tensors for the results of a node that failed, so that later nodes are read too."""
        self.failed.update(node.outputs)
        for name in node.outputs:
            sizes = self.model.shapes.get(name, ())
            shape = tuple(v for v in sizes[1:] if isinstance(v, int) and v > 0) or (1,)
            type_ = IntType(8, True)
            failed = Node.make("failed", Input(node_shape(shape), type_, "NHWC"), ())
            codes = np.arange(-128.0, 128.0)[None]
            self.tensors[name] = Table(Codes(failed, Layout.canonical(shape)), codes)

    def tensor(self, node: OnnxNode, position: int = 0) -> Tensor:
        """An input of a node."""
        if not node.has(position):
            raise Unreadable(f"no input {position}; it is needed there; export the model again")
        name = node.inputs[position]
        if name not in self.tensors:
            raise Unreadable(
                f"reads {printable(name)!r}, which nothing made before; sorted nodes are"
                " supported; export the model again"
            )
        return self.tensors[name]

    def active(self, node: OnnxNode, position: int = 0) -> Active:
        """An input that depends on the network's input."""
        found = self.tensor(node, position)
        if isinstance(found, Const):
            raise Unreadable(
                f"input {position} is a constant; a computed tensor is supported there; fold the"
                " constant"
            )
        return found

    def table(self, node: OnnxNode, position: int = 0) -> Table:
        """An input that must have been quantised."""
        return self.quantised(self.active(node, position))

    def quantised(self, found: Active) -> Table:
        """The tensor as a function of codes."""
        if isinstance(found, Table):
            return found
        what = found.what if isinstance(found, Pending) else type(found).__name__.lower()
        what = {"floatinput": "the real input", "join": "a concatenation", "sum": "a sum"}.get(
            what, what
        )
        raise Unreadable(
            f"the result of {what} arrives here without a quantiser; codes of 1 to 8 bits are"
            " supported; put QuantizeLinear and DequantizeLinear (or Quant) between them"
        )

    def const(self, node: OnnxNode, position: int, what: str) -> Const:
        """A constant input."""
        found = self.tensor(node, position)
        if not isinstance(found, Const) and node.inputs[position] in self.failed:
            raise Skipped
        if not isinstance(found, Const):
            raise Unreadable(
                f"{what} computed by the network; a constant is supported there; fold it before"
                " exporting"
            )
        return found

    def integers(self, node: OnnxNode, position: int, what: str) -> list[int]:
        """A small constant vector of whole numbers."""
        return [int(v) for v in self.const(node, position, what).data.reshape(-1)]

    def emit(
        self, op: Op, inputs: tuple[Node, ...], *, scale: float | None = None,
        zero: int | None = None,
    ) -> Node:
        """Append a node; its name comes from the operator and the number of the ONNX node."""
        name = first = f"{op.kind}_{self.node.index}"
        count = 1
        while name in self.names:
            count += 1
            name = f"{first}_{count}"
        stored = self.model.metadata.get(f"adaqat.grid.{self.node.outputs[0]}")
        if stored is not None and scale in (None, 1.0) and zero in (None, 0):
            scale, zero = stored_grid(stored)
        source = self.node.name
        node = Node.make(name, op, inputs, scale=scale, zero=zero, source=source)
        if node.output.size > LARGEST:
            raise Unreadable(
                f"a result of shape {node.output.shape}; up to {LARGEST} values are supported"
            )
        self.names.add(name)
        self.nodes.append(node)
        return node

    def reshaped(self, node: Node, shape: Shape) -> Node:
        """The same memory under another shape."""
        return node if node.output.shape == shape else self.emit(Reshape(shape), (node,))

    def channels_last(self, codes: Codes) -> Codes:
        """The codes in the graph's own order and shape, moved where that is needed."""
        moved = self._moved(codes, codes.layout.split())
        shape = codes.layout.shape
        return Codes(self.reshaped(moved.node, node_shape(shape)), moved.layout)

    def in_order(self, codes: Codes) -> Codes:
        """The codes in ONNX's order and shape."""
        moved = self._moved(codes, codes.layout.straight())
        return Codes(self.reshaped(moved.node, codes.layout.shape or (1,)), moved.layout)

    def _moved(self, codes: Codes, wanted: Layout) -> Codes:
        held = codes.layout
        axes = tuple(held.order.index(i) for i in wanted.order)
        if axes == tuple(range(len(axes))):
            return codes
        spread = self.reshaped(codes.node, held.memory)
        return Codes(self.emit(Transpose(axes), (spread,)), wanted)

    def _output(self) -> Node | None:
        from .onnx_quantizers import quantise, regridded

        name = self.model.outputs[0]
        found = self.tensors.get(name)
        try:
            if found is None or isinstance(found, Const):
                raise Unreadable(
                    "computed by no node from the input; a network is needed; export it again"
                )
            if isinstance(found, Pending | Sum) and self.output_scale is not None:
                found = quantise(self, found, self.output_scale, 0, IntType(8, True))
            if not isinstance(found, Table):
                raise Unreadable(
                    "not quantised; codes of 1 to 8 bits are supported; put a quantiser behind it,"
                    " or give its scale: import_onnx(path, output_scale=...), --output-scale"
                )
            table = regridded(self, found)
            if (table.line() or (1.0, 0.0))[0] < 0:
                raise Unreadable(
                    "values that fall with their codes; rising ones are supported; put a quantiser"
                    " behind it"
                )
            codes = table.codes
            if codes.layout.order != codes.layout.straight().order:
                codes = self.channels_last(codes)
            elif len(codes.node.output.shape) != len(codes.layout.shape):
                shape = node_shape(codes.layout.shape)
                codes = Codes(self.reshaped(codes.node, shape), codes.layout)
        except (Unreadable, UnsupportedError) as error:
            self.problems.append(f"output {printable(name)}: {error}")
            return None
        return self._described(codes.node, table)

    def _described(self, node: Node, table: Table) -> Node:
        """The output with the scale and zero point its reader gives it."""
        line = table.line()
        used = any(node.name in other.inputs for other in self.nodes)
        stored = self.model.metadata.get("adaqat.output")
        if used or line is None or line[0] <= 0:
            return node
        scale, zero = line[0], round(-line[1] / line[0])
        if stored is not None:
            scale, zero = stored_grid(stored)
        described = replace(node, output=replace(node.output, scale=scale, zero=zero))
        self.nodes[self.nodes.index(node)] = described
        return described

