# SPDX-License-Identifier: Apache-2.0
"""A .tflite file that grows: int8 tensors of a graph, constants, operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedError
from ..extras import require
from ..graph import Graph, Node
from ..ops.base import TensorInfo, Window
from ..types import IntType
from .tflite_constants import ACTIVATIONS, activation_limits

INT8 = IntType(8, True)
INT16 = IntType(16, True)
NUMBERS = {"int4": 17, "int8": 9, "int16": 7, "int32": 2, "int64": 4}
"""Tensor types of the schema."""
STORED = {"int16": "<i2", "int32": "<i4", "int64": "<i8"}
"""How constants of more than a byte are stored."""
SAME, VALID = 0, 1


def shift_of(info: TensorInfo) -> int:
    """What is added to a tensor's codes, so that the largest becomes 127; 0 of 16-bit ones."""
    return 0 if info.wide else INT8.hi - info.type.hi


class File:
    """Tensors and operators written so far.

    Attributes:
        graph: what is written.
        at: index of the tensor of every node.
    """

    def __init__(self, schema: Any, graph: Graph) -> None:
        self.schema = schema
        self.graph = graph
        self.at: dict[str, int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = b"adaqat-deploy"
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._part = schema.SubGraphT()
        self._part.name = graph.name.encode()
        self._part.tensors, self._part.operators = [], []
        self._model.subgraphs = [self._part]

    def misfit(self, info: TensorInfo) -> str:
        """Why a tensor cannot be an int8 or int16 tensor; empty where it can."""
        zero = info.zero + shift_of(info)
        if info.wide and (info.type != INT16 or zero):
            return (
                f"{info.type} codes with zero point {zero}; of more than 8 bits only s16 with zero"
                " point 0 is supported; requantise before it"
            )
        if not INT8.lo <= zero <= INT8.hi or not 0 < np.float32(info.scale) < np.inf:
            return (
                f"scale {info.scale:.9g} and zero point {info.zero} of {info.type} codes; positive"
                " float32 scales and zero points within the type are supported; calibrate again"
            )
        return ""

    def stand_in(self, node: Node) -> None:
        """A tensor for a node that failed, so that later ones are looked at too."""
        self.at[node.name] = 0

    def info(self, node: Node, position: int = 0) -> TensorInfo:
        """What a node reads."""
        return self.graph[node.inputs[position]].output

    def source(self, node: Node, position: int = 0) -> int:
        """Index of the tensor that a node reads."""
        return self.at[node.inputs[position]]

    def tensor(
        self, name: str, shape: Sequence[int], type_: str = "int8", *,
        scale: Any = None, zero: int = 0, axis: int = 0, data: Any = None,
    ) -> int:  # fmt: skip
        """Append a tensor, constant where ``data`` is given; returns its index."""
        made = self.schema.TensorT()
        made.shape = [int(v) for v in shape]
        made.type = NUMBERS[type_]
        made.name = name.encode()
        made.buffer = 0
        if data is not None:
            buffer = self.schema.BufferT()
            raw = np.ascontiguousarray(data, STORED.get(type_, np.uint8))
            buffer.data = np.frombuffer(raw.tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            made.buffer = len(self._model.buffers) - 1
        if scale is not None:
            grid = self.schema.QuantizationParametersT()
            grid.scale = np.atleast_1d(np.asarray(scale, np.float32))
            grid.zeroPoint = np.full(len(grid.scale), zero, np.int64)
            grid.quantizedDimension = axis
            made.quantization = grid
        self._part.tensors.append(made)
        return len(self._part.tensors) - 1

    def like(self, name: str, info: TensorInfo, shape: Sequence[int] | None = None) -> int:
        """A computed tensor on the grid of a graph's tensor."""
        shape, type_ = (1, *(info.shape if shape is None else shape)), "int8"
        if info.wide:
            type_ = "int16"
        return self.tensor(name, shape, type_, scale=info.scale, zero=info.zero + shift_of(info))

    def result(self, node: Node) -> int:
        """The tensor of a node."""
        self.at[node.name] = self.like(node.name, node.output)
        return self.at[node.name]

    def ints(self, name: str, values: Any) -> int:
        """A constant int32 tensor."""
        array = np.asarray(values, np.int32)
        return self.tensor(name, array.shape, "int32", data=array)

    def op(
        self, name: str, inputs: Sequence[int], output: int, version: int = 1,
        options: str = "", **fields: Any,
    ) -> int:  # fmt: skip
        """Append an operator; returns the index of its output."""
        if (name, version) not in self._codes:
            code = self.schema.OperatorCodeT()
            number = getattr(self.schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(number, 127)
            code.builtinCode = number
            code.version = version
            self._codes[name, version] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(code)
        made = self.schema.OperatorT()
        made.opcodeIndex = self._codes[name, version]
        made.inputs, made.outputs = [int(i) for i in inputs], [output]
        if options:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            made.builtinOptions = getattr(self.schema, f"{options}T")()
            for key, value in fields.items():
                setattr(made.builtinOptions, key, value)
        self._part.operators.append(made)
        return output

    def clamped(
        self, node: Node, name: str, inputs: Sequence[int], version: int, options: str,
        lo: int, hi: int, *, shape: Sequence[int] | None = None, fused: bool = True, **fields: Any,
    ) -> int:  # fmt: skip
        """A node's operator with a clamp to graph codes ``lo..hi``.

        A fused activation where one has these limits, else MINIMUM and MAXIMUM behind it.
        """
        info, shift = node.output, shift_of(node.output)
        scale, zero = info.scale, info.zero + shift
        full = INT16 if info.wide else INT8
        wanted = (max(lo + shift, full.lo), min(hi + shift, full.hi))
        limits = {a: activation_limits(a, full, scale, zero) for a in ACTIVATIONS}
        exact = [a for a, found in limits.items() if found == wanted] if fused else []
        act = exact[0] if exact else 1 if fused and limits[1][0] == wanted[0] else 0
        rest = []
        if not exact and info.wide and (fused or wanted != (full.lo, full.hi)):
            raise UnsupportedError(
                [f"a clamp of 16-bit codes to {lo}..{hi}; none, RELU, RELU_N1_TO_1 and RELU6 are"
                 " supported; requantise to 8 bits"]
            )  # fmt: skip
        if not exact:
            if wanted[1] < INT8.hi:
                rest.append(("MINIMUM", wanted[1]))
            if wanted[0] > limits[act][0]:
                rest.append(("MAXIMUM", wanted[0]))
        if fused:
            fields["fusedActivationFunction"] = act
        x = -1
        for step in range(len(rest) + 1):
            last = step == len(rest)
            named = last and shape is None
            out = self.result(node) if named else self.like(f"{node.name}/{step}", info, shape)
            if step == 0:
                x = self.op(name, inputs, out, version, options, **fields)
                continue
            kind, value = rest[step - 1]
            end = self.tensor(f"{node.name}/{kind.lower()}", (1,), scale=scale, zero=zero,
                              data=np.array([value], np.int8))  # fmt: skip
            x = self.op(kind, [x, end], out, 2, "MaximumMinimumOptions")
        return x

    def reshaped(self, x: int, name: str, info: TensorInfo, shape: Sequence[int]) -> int:
        """The same codes under another shape."""
        return self._reshape(x, self.like(name, info, shape), (1, *shape))

    def reshaped_result(self, x: int, node: Node) -> None:
        """Codes as the result of a node."""
        self._reshape(x, self.result(node), (1, *node.output.shape))

    def _reshape(self, x: int, out: int, shape: Sequence[int]) -> int:
        sizes = self.ints("shape", shape)
        return self.op("RESHAPE", [x, sizes], out, 1, "ReshapeOptions", newShape=list(shape))

    def bordered(self, node: Node, window: Window, value: int) -> tuple[int, int]:
        """(tensor, SAME or VALID) of a window's input whose border holds a graph's code."""
        x, info = self.source(node), self.info(node)
        if not any(window.pad):
            return x, VALID
        if value == info.zero and same_padding(window, info.shape):
            return x, SAME
        top, left, bottom, right = window.pad
        rows, columns, channels = info.shape
        shape = (rows + top + bottom, columns + left + right, channels)
        out = self.like(f"{node.name}/border", info, shape)
        self.pad(x, out, info, (top, left, 0), (bottom, right, 0), value)
        return out, VALID

    def pad(
        self, x: int, out: int, info: TensorInfo, before: Sequence[int], after: Sequence[int],
        value: int,
    ) -> None:  # fmt: skip
        """PAD with the zero point, PADV2 with any other code."""
        pairs = self.ints("pads", [(0, 0), *zip(before, after, strict=True)])
        if value == info.zero:
            self.op("PAD", [x, pairs], out, 2, "PadOptions")
            return
        shift = shift_of(info)
        border = self.tensor("border", (1,), scale=info.scale, zero=info.zero + shift,
                             type_="int16" if info.wide else "int8",
                             data=np.array([value + shift], np.int16 if info.wide else np.int8))
        self.op("PADV2", [x, pairs, border], out, 2, "PadV2Options")

    def data(self) -> bytes:
        """The finished file."""
        builder = require("flatbuffers", "tflite").Builder(1 << 16)
        self._part.inputs = [self.at[self.graph.input_node.name]]
        self._part.outputs = [self.at[self.graph.output]]
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def same_padding(window: Window, shape: tuple[int, ...]) -> bool:
    """Whether a window's padding is TFLite's SAME for an image of that shape."""
    wanted: NDArray[np.int64] = np.zeros(4, np.int64)
    for axis in (0, 1):
        stride, reach = window.stride[axis], (window.kernel[axis] - 1) * window.dilation[axis] + 1
        total = max((-(-shape[axis] // stride) - 1) * stride + reach - shape[axis], 0)
        wanted[axis], wanted[axis + 2] = total // 2, total - total // 2
    return tuple(wanted) == window.pad


Write = Callable[[File, Node], None]
