# SPDX-License-Identifier: Apache-2.0
"""The parts of a .tflite file that matter here, as plain dataclasses.

Field numbers are those of the TensorFlow Lite schema (schema.fbs, version 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from .flatbuffer import FlatBufferError, Table

IDENTIFIER = b"TFL3"
TYPES = {
    0: ("float32", "<f4"), 1: ("float16", "<f2"), 2: ("int32", "<i4"), 3: ("uint8", "u1"),
    4: ("int64", "<i8"), 6: ("bool", "u1"), 7: ("int16", "<i2"), 9: ("int8", "i1"),
    17: ("int4", "u1"),
}  # fmt: skip
"""Tensor types by number: name, and NumPy type of the stored bytes."""
OPERATORS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL",
    19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR",
    25: "SOFTMAX", 28: "TANH", 32: "CUSTOM", 34: "PAD", 36: "GATHER", 39: "TRANSPOSE",
    40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    45: "STRIDED_SLICE", 47: "EXP", 49: "SPLIT", 53: "CAST", 54: "PRELU", 55: "MAXIMUM",
    56: "ARG_MAX", 57: "MINIMUM", 60: "PADV2", 65: "SLICE", 67: "TRANSPOSE_CONV", 70: "EXPAND_DIMS",
    74: "SUM", 83: "PACK", 88: "UNPACK", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU",
    111: "ELU", 114: "QUANTIZE", 117: "HARD_SWISH", 126: "BATCH_MATMUL", 150: "GELU",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TfTensor:
    """One tensor.

    Attributes:
        index: its number in the file.
        name: for messages.
        shape: with the batch axis.
        type: name of the element type.
        scale: float32 scales, empty, one, or one per channel.
        zero: zero points, as many.
        axis: quantised dimension.
        data: constant values in ``shape``, None for computed tensors.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    scale: NDArray[np.float32]
    zero: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class TfOperator:
    """One operator; ``options`` is its options table, absent where the file has none."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None

    def option(self, field: int, form: str = "i", default: int = 0) -> int:
        """An integer option by field number."""
        return default if self.options is None else self.options.integer(field, form, default)


@dataclass(frozen=True, eq=False)
class TfModel:
    """The first subgraph of a file."""

    tensors: tuple[TfTensor, ...]
    operators: tuple[TfOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int


def read_model(path: Path) -> TfModel:
    """Parse a file.

    Raises:
        ModelFileError: missing, no TFLite file, truncated or inconsistent.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error.strerror}); give the path of a .tflite file"
        ) from error
    if data[4:8] != IDENTIFIER:
        raise ModelFileError(
            f"{path}: no TFLite file (identifier {data[4:8]!r}); files with identifier TFL3 are"
            " supported; export the model again"
        )
    try:
        return _model(Table.root(data))
    except (FlatBufferError, ValueError, IndexError, OverflowError) as error:
        raise ModelFileError(
            f"{path}: inconsistent or truncated TFLite file ({error}); export the model again"
        ) from error


def _model(root: Table) -> TfModel:
    codes = [_code(table) for table in root.tables(1)]
    buffers = [table.numbers(0, "u1") for table in root.tables(4)]
    graphs = root.tables(2)
    if not graphs:
        raise FlatBufferError("no subgraph")
    graph = graphs[0]
    tensors = tuple(_tensor(i, t, buffers) for i, t in enumerate(graph.tables(0)))
    operators = []
    for i, table in enumerate(graph.tables(3)):
        inputs, outputs = _ints(table, 1), _ints(table, 2)
        used = [*inputs, *outputs]
        if any(not -1 <= j < len(tensors) for j in used) or -1 in outputs or not outputs:
            raise FlatBufferError(f"operator {i} names a tensor that is not there")
        name = codes[table.integer(0, "I")]
        operators.append(TfOperator(i, name, inputs, outputs, table.table(4)))
    if not operators:
        raise FlatBufferError("no operators")
    inputs, outputs = _ints(graph, 1), _ints(graph, 2)
    if any(not 0 <= j < len(tensors) for j in (*inputs, *outputs)):
        raise FlatBufferError("an input or output that is not there")
    return TfModel(tensors, tuple(operators), inputs, outputs, len(graphs))


def _code(table: Table) -> str:
    number = max(table.integer(0, "b"), table.integer(3, "i"))
    if number == 32:
        return f"custom operator {table.text(1)}"
    return OPERATORS.get(number, f"operator number {number}")


def _ints(table: Table, field: int) -> tuple[int, ...]:
    return tuple(int(v) for v in table.numbers(field, "<i4"))


def _tensor(index: int, table: Table, buffers: list[NDArray[Any]]) -> TfTensor:
    shape = _ints(table, 0)
    type_, dtype = TYPES.get(table.integer(1, "b"), (f"type {table.integer(1, 'b')}", "u1"))
    quantization = table.table(4)
    scale, zero, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if quantization is not None:
        scale = np.asarray(quantization.numbers(2, "<f4"), np.float32)
        zero = np.asarray(quantization.numbers(3, "<i8"), np.int64)
        axis = quantization.integer(6)
        if len(zero) != len(scale) and len(scale):
            zero = np.zeros(len(scale), np.int64)
    raw = buffers[table.integer(2, "I")]
    data: NDArray[Any] | None = None
    if len(raw):
        values = raw.view(np.uint8)
        if type_ == "int4":  # two codes a byte, low nibble first, two's complement
            pairs = np.stack([values & 15, values >> 4], axis=1).reshape(-1).astype(np.int16)
            data = ((pairs ^ 8) - 8).astype(np.int8)[: int(np.prod(shape))].reshape(shape)
        else:
            data = np.frombuffer(values.tobytes(), dtype).reshape(shape)
    return TfTensor(index, table.text(3)[:300] or f"tensor {index}", shape, type_, scale, zero,
                    axis, data)  # fmt: skip
