# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models, and what ONNX's reference evaluator computes for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaqat.deploy import Graph, simulate

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
QONNX = "qonnx.custom_op.general"
TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}


class OnnxMaker:
    """Collects nodes and constants; tensors are called by their names."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, values: Any, dtype: str = "float32") -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(values, dtype)
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, inputs: Sequence[str], *, domain: str = "", outputs: int = 1,
             name: str | None = None, **attrs: Any) -> str:
        stem = name or f"{op.lower()}{len(self.nodes)}"
        names = [stem, *(f"{stem}.{i}" for i in range(1, outputs))]
        self.nodes.append(
            onnx.helper.make_node(op, list(inputs), names, name=stem, domain=domain, **attrs)
        )
        return stem

    def quantize(self, x: str, scale: float, zero: int = 0, dtype: str = "int8") -> str:
        grid = [self.const(scale), self.const(zero, dtype)]
        return self.node("QuantizeLinear", [x, *grid])

    def qdq(self, x: str, scale: float, zero: int = 0, dtype: str = "int8") -> str:
        codes = self.quantize(x, scale, zero, dtype)
        return self.node("DequantizeLinear", [codes, self.const(scale), self.const(zero, dtype)])

    def weights(self, shape: Sequence[int], *, axis: int | None = None, dtype: str = "int8",
                size: float = 1.0) -> str:
        """Quantised weights: one scale, or one per channel along ``axis``."""
        low, zero = (-127, 0) if dtype == "int8" else (0, 121)
        data = self.const(self.rng.integers(low, low + 255, shape), dtype)
        count = 1 if axis is None else shape[axis]
        scales = (size * self.rng.uniform(0.002, 0.02, count)).astype(np.float32)
        if axis is None:
            grid = [self.const(scales[0]), self.const(zero, dtype)]
            return self.node("DequantizeLinear", [data, *grid])
        grid = [self.const(scales), self.const(np.full(count, zero), dtype)]
        return self.node("DequantizeLinear", [data, *grid], axis=axis)

    def quant(self, x: str, bits: int, *, scale: Any = 1.0, zero: float = 0.0, signed: bool = True,
              narrow: bool = False, mode: str = "ROUND") -> str:
        grid = [self.const(scale), self.const(zero), self.const(bits)]
        return self.node("Quant", [x, *grid], domain=QONNX, signed=int(signed),
                         narrow=int(narrow), rounding_mode=mode)

    def model(self, output: str, shape: Sequence[Any], *, opset: int = 19,
              dtype: str = "float32", out_dtype: str = "int8", out_shape: Any = None,
              qonnx: int = 1) -> Any:
        helper = onnx.helper
        source = helper.make_tensor_value_info("x", TYPES[dtype], shape)
        result = helper.make_tensor_value_info(output, TYPES[out_dtype], out_shape)
        graph = helper.make_graph(self.nodes, "m", [source], [result], self.constants)
        imports = [helper.make_opsetid(*v) for v in
                   (("", opset), (QONNX, qonnx), ("com.microsoft", 1))]
        made = helper.make_model(graph, opset_imports=imports)
        made.ir_version = 9
        return made


def save(model: Any, folder: Path) -> Path:
    path = folder / "m.onnx"
    onnx.save(model, str(path))
    return path


def reference(model: Any, inputs: np.ndarray) -> np.ndarray:
    """Outputs of ONNX's reference evaluator, sample by sample."""
    from onnx.reference import ReferenceEvaluator

    run = ReferenceEvaluator(model)
    return np.concatenate([run.run(None, {"x": x[None]})[0] for x in inputs])


def outputs(graph: Graph, codes: np.ndarray) -> np.ndarray:
    """The simulator's outputs in ONNX's order of axes."""
    found = simulate(graph, codes)
    return np.moveaxis(found, -1, 1) if found.ndim == 4 else found


def compared(graph: Graph, model: Any, inputs: np.ndarray, codes: np.ndarray) -> tuple[int, ...]:
    """(values, how many differ, largest difference) against the reference evaluator."""
    wanted = reference(model, inputs).astype(np.int64)
    found = outputs(graph, codes).astype(np.int64)
    assert wanted.size == found.size
    step = np.abs(wanted.reshape(-1) - found.reshape(-1))
    return step.size, int(np.count_nonzero(step)), int(step.max(initial=0))
