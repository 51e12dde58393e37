# SPDX-License-Identifier: Apache-2.0
"""Reads .onnx files into plain records: nodes, constants, one input, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from ..extras import require

Sizes = tuple[int | str | None, ...]
"""Sizes of a declared tensor: numbers, names of unknown ones, None where nothing is said."""


@dataclass(frozen=True)
class OnnxNode:
    """One node of the file; ``attrs`` holds numbers, texts, lists and arrays."""

    index: int
    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attrs.get(name, default)

    def has(self, position: int) -> bool:
        """Whether an optional input is there."""
        return len(self.inputs) > position and bool(self.inputs[position])


@dataclass(frozen=True)
class OnnxModel:
    """What the importer needs of a file.

    Attributes:
        nodes: in the file's order, which ONNX wants topological.
        constants: initial values by tensor name.
        inputs: (element type, sizes) by name, initial values left out.
        outputs: names.
        shapes: sizes of all tensors that shape inference knows.
        metadata: key and value of the model's properties.
        opset: version of the standard operators.
    """

    nodes: tuple[OnnxNode, ...]
    constants: dict[str, NDArray[Any]]
    inputs: dict[str, tuple[str, Sizes]]
    outputs: tuple[str, ...]
    shapes: dict[str, Sizes] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    opset: int = 1


def read_model(path: Path) -> OnnxModel:
    """Read a file.

    Raises:
        ModelFileError: missing, truncated or foreign.
        ToolError: the onnx package is not installed.
    """
    onnx = require("onnx", "onnx")
    decode = require("google.protobuf.message", "onnx").DecodeError
    try:
        proto = onnx.load(str(path))
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error.strerror or error}); give an .onnx file, with its"
            " external data beside it"
        ) from error
    except (decode, ValueError, onnx.checker.ValidationError) as error:
        raise ModelFileError(
            f"{path}: no ONNX model ({str(error).splitlines()[0]}); export the model again"
        ) from error
    if not proto.graph.node:
        raise ModelFileError(f"{path}: no ONNX model (no nodes in it); export the model again")
    try:
        return _model(onnx, proto)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{path}: inconsistent ONNX file: {error}; export the model again"
        ) from error


def _model(onnx: Any, proto: Any) -> OnnxModel:
    graph = proto.graph
    if not all(isinstance(i.name, str) for i in (*graph.input, *graph.output, *graph.initializer)):
        raise ValueError("a tensor has a name that is no text")
    constants = {t.name: np.asarray(onnx.numpy_helper.to_array(t)) for t in graph.initializer}
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 1)
    return OnnxModel(
        tuple(_node(onnx, i, node) for i, node in enumerate(graph.node)),
        constants,
        {i.name: _declared(onnx, i) for i in graph.input if i.name not in constants},
        tuple(o.name for o in graph.output),
        _shapes(onnx, proto),
        {p.key: p.value for p in proto.metadata_props},
        opset,
    )


def _shapes(onnx: Any, proto: Any) -> dict[str, Sizes]:
    """Declared and inferred sizes, for stand-ins only: what is unknown is left out."""
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except (RuntimeError, ValueError, TypeError, onnx.shape_inference.InferenceError):
        graph = proto.graph
    if not all(isinstance(i.name, str) for i in (*graph.input, *graph.output, *graph.initializer)):
        raise ValueError("a tensor has a name that is no text")
    return {i.name: _declared(onnx, i)[1] for i in (*graph.value_info, *graph.output)}


def _declared(onnx: Any, info: Any) -> tuple[str, Sizes]:
    tensor = info.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if not tensor.HasField("shape"):
        return kind, ()
    sizes = tuple(
        int(d.dim_value) if d.HasField("dim_value") else (printable(d.dim_param) or None)
        for d in tensor.shape.dim
    )
    return kind, sizes


def _node(onnx: Any, index: int, node: Any) -> OnnxNode:
    names = (node.name, node.op_type, node.domain, *node.input, *node.output)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"node {index} has a name that is no text")
    attrs = {a.name: _attribute(onnx, a) for a in node.attribute}
    name = printable(node.name or (node.output[0] if node.output else f"node {index}"))
    return OnnxNode(
        index, name, printable(node.op_type), node.domain, tuple(node.input), tuple(node.output),
        attrs,
    )  # fmt: skip


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return np.asarray(onnx.numpy_helper.to_array(value))
    return value


def printable(text: str) -> str:
    """A name from the file, unprintable characters replaced."""
    return "".join(c if c.isprintable() else "?" for c in text)
