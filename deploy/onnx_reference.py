# SPDX-License-Identifier: Apache-2.0
"""How the integers of an imported ONNX model differ from the model's real arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import ToolError
from .extras import require
from .graph import Graph
from .ops.source import Input
from .simulate import simulate
from .types import IntArray


def compare_with_onnx(path: Path, graph: Graph, codes: IntArray) -> dict[str, Any]:
    """Output codes of the graph against the model's own in qonnx, onnxruntime or onnx.

    Args:
        path: the .onnx file.
        graph: what `import_onnx` made of it.
        codes: inputs ``[N, *input shape]``.

    Returns:
        executor, samples, values, differences, largest (in codes), same_top (largest outputs
        at the same place).

    Raises:
        ToolError: no executor here can run the model.
    """
    onnx = require("onnx", "onnx")
    proto = onnx.load(str(path))
    name, run = _executor(onnx, proto)
    given = proto.graph.input[0].type.tensor_type
    inputs = _inputs(graph, codes, given.elem_type == onnx.TensorProto.FLOAT, len(given.shape.dim))
    try:
        wanted = np.concatenate([np.asarray(run(x[None])) for x in inputs])
    except Exception as error:  # whatever the foreign executor raises for a model it cannot run
        raise ToolError(f"{name}: cannot run {path} ({str(error).splitlines()[0]})") from error
    found = simulate(graph, codes).astype(np.int64)
    if found.ndim == 4 and wanted.shape != found.shape:
        found = np.moveaxis(found, -1, 1)
    info = graph.output_node.output
    if wanted.dtype.kind == "f":
        whole = np.rint(wanted.astype(np.float64) / info.scale) + info.zero
        wanted = np.clip(whole, info.type.lo, info.type.hi)
    a, b = (v.reshape(len(codes), -1).astype(np.int64) for v in (wanted, found))
    step = np.abs(a - b)
    return {
        "executor": name, "samples": len(codes), "values": step.size,
        "differences": int(np.count_nonzero(step)), "largest": int(step.max(initial=0)),
        "same_top": int(np.count_nonzero(a.argmax(axis=1) == b.argmax(axis=1))),
    }  # fmt: skip


def _inputs(graph: Graph, codes: IntArray, real: bool, rank: int) -> Any:
    """The model's own inputs, in its order of axes."""
    node = graph.input_node
    assert isinstance(node.op, Input)
    values: Any = codes
    if real:
        info = node.output
        values = ((codes.astype(np.float64) - info.zero) * info.scale).astype(np.float32)
    if node.op.layout in ("NCHW", "NCL") and values.ndim == 4:
        values = np.moveaxis(values, -1, 1)
    return values.reshape(len(values), *[v for i, v in enumerate(values.shape[1:])
                                         if rank == values.ndim or i != (rank - 2)])  # fmt: skip


def _executor(onnx: Any, proto: Any) -> tuple[str, Any]:
    name = proto.graph.input[0].name
    if any(node.domain.startswith(("qonnx", "onnx.brevitas", "finn")) for node in proto.graph.node):
        wrapper = require("qonnx.core.modelwrapper", "dev")
        execute = require("qonnx.core.onnx_exec", "dev").execute_onnx
        infer = require("qonnx.transformation.infer_shapes", "dev").InferShapes
        model = wrapper.ModelWrapper(proto).transform(infer())
        out = proto.graph.output[0].name
        return "qonnx", lambda x: execute(model, {name: x})[out]
    try:
        runtime = require("onnxruntime", "dev")
    except ToolError:
        reference = require("onnx.reference", "onnx").ReferenceEvaluator(proto)
        return "onnx reference evaluator", lambda x: reference.run(None, {name: x})[0]
    options = runtime.SessionOptions()
    # without it, products of u8 and s8 saturate in 16 bits on x86 without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return "onnxruntime", lambda x: session.run(None, {name: x})[0]
