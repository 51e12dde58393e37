# SPDX-License-Identifier: Apache-2.0
"""Small .tflite models, written with LiteRT's own schema classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

S = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

DTYPES = {"int4": 17, "int8": 9, "int32": 2, "uint8": 3, "float32": 0, "int16": 7, "int64": 4}


class TfMaker:
    """Collects tensors and operators; `data` is the finished file."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.model = S.ModelT()
        self.model.version = 3
        self.model.description = b"test"
        self.graph = S.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        empty = S.BufferT()
        self.model.buffers = [empty]
        self.model.operatorCodes = []

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | Sequence[float] | None = 0.05,
        zero: int = 0,
        *,
        type_: str = "int8",
        data: np.ndarray | None = None,
        axis: int = 0,
        name: str | None = None,
    ) -> int:
        tensor = S.TensorT()
        tensor.shape = [int(v) for v in shape]
        tensor.type = DTYPES[type_]
        tensor.name = (name or f"t{len(self.graph.tensors)}").encode()
        tensor.buffer = 0
        if data is not None:
            buffer = S.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scale is not None:
            q = S.QuantizationParametersT()
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            q.scale = scales
            q.zeroPoint = np.full(len(scales), zero, np.int64)
            q.quantizedDimension = axis
            tensor.quantization = q
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(
        self, name: str, inputs: Sequence[int], outputs: int | Sequence[int], version: int = 1,
        **options: Any,
    ) -> int:
        code = S.OperatorCodeT()
        number = getattr(S.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(number, 127)
        code.builtinCode = number
        code.version = version
        self.model.operatorCodes.append(code)
        operator = S.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs = list(inputs)
        operator.outputs = [outputs] if isinstance(outputs, int) else list(outputs)
        kind = options.pop("options", None)
        if kind is not None:
            made = getattr(S, f"{kind}T")()
            for key, value in options.items():
                assert hasattr(made, key), key
                setattr(made, key, value)
            operator.builtinOptions = made
            operator.builtinOptionsType = getattr(S.BuiltinOptions, kind)
        self.graph.operators.append(operator)
        return operator.outputs[0]

    def weights(self, shape: Sequence[int], axis: int, per_channel: bool = True) -> int:
        data = self.rng.integers(-127, 128, tuple(shape)).astype(np.int8)
        count = shape[axis] if per_channel else 1
        scale = self.rng.uniform(0.002, 0.01, count)
        return self.tensor(shape, scale, data=data, axis=axis)

    def weights4(self, shape: Sequence[int], axis: int) -> int:
        """Two 4-bit codes a byte, low nibble first."""
        codes = self.rng.integers(-7, 8, int(np.prod(shape)))
        pairs = np.append(codes, np.zeros(len(codes) % 2, np.int64)).reshape(-1, 2) & 15
        data = (pairs[:, 0] | (pairs[:, 1] << 4)).astype(np.uint8)
        scale = self.rng.uniform(0.02, 0.1, shape[axis])
        return self.tensor(shape, scale, data=data, axis=axis, type_="int4")

    def scale(self, index: int) -> np.ndarray:
        return np.asarray(self.graph.tensors[index].quantization.scale, np.float32)

    def bias(self, count: int, reach: int = 3000, of: Sequence[int] = ()) -> int:
        """``of``: input and weights, whose product of scales LiteRT compares with the bias's."""
        data = self.rng.integers(-reach, reach, count).astype(np.int32)
        scale = np.prod([self.scale(i) for i in of], axis=0) if of else None
        return self.tensor([count], scale, type_="int32", data=data)

    def ints(self, values: Sequence[int] | np.ndarray) -> int:
        data = np.asarray(values, np.int32)
        return self.tensor(data.shape, None, type_="int32", data=data)

    def data(self, inputs: int | Sequence[int], outputs: int | Sequence[int]) -> bytes:
        self.graph.inputs = [inputs] if isinstance(inputs, int) else list(inputs)
        self.graph.outputs = [outputs] if isinstance(outputs, int) else list(outputs)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
