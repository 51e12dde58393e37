# SPDX-License-Identifier: Apache-2.0
"""Constants in an ONNX graph: nodes that make them, and nodes that compute with them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import require
from .onnx_file import OnnxNode
from .onnx_values import Const, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder

KEEPS_INTEGERS = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")
OWN_READERS = ("QuantizeLinear", "DequantizeLinear", "Quant", "BipolarQuant", "Shape", "Constant",
               "Trunc")  # fmt: skip


def attr_or_input(b: Builder, node: OnnxNode, name: str, position: int) -> list[int] | None:
    """A list that older versions keep in an attribute and newer ones in an input."""
    if node.attr(name) is not None:
        return [int(v) for v in node.attr(name)]
    return b.integers(node, position, name) if node.has(position) else None


def read_constant(b: Builder, node: OnnxNode) -> Tensor:
    """Constant, in each of its spellings."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if node.attr(name) is not None:
            value = np.asarray(node.attr(name))
            return Const(value.astype(np.float32) if "float" in name else value)
    raise Unreadable("a constant without numbers; tensors and numbers are supported")


def constant_result(b: Builder, node: OnnxNode) -> Tensor | tuple[Tensor, ...] | None:
    """What a node makes of constants alone; None where an input is computed.

    Shape changes of quantised weights keep their integers, everything else is computed by ONNX's
    reference evaluator.
    """
    given = {name: b.tensors.get(name) for name in node.inputs if name}
    if not all(isinstance(t, Const) for t in given.values()) or node.op in OWN_READERS:
        return None
    consts = {name: t for name, t in given.items() if isinstance(t, Const)}
    results = _evaluated(b, node, {name: t.data for name, t in consts.items()})
    first = consts.get(node.inputs[0]) if node.inputs else None
    if node.op in KEEPS_INTEGERS and first is not None and first.ints is not None:
        assert first.scale is not None
        ints = _evaluated(b, node, _first(node, consts, first.ints))[0]
        wide = np.broadcast_to(first.scale, first.ints.shape).astype(np.float64)
        scale = _evaluated(b, node, _first(node, consts, wide))[0]
        return Const(results[0], ints, _narrow(scale), first.grid)
    if node.op == "Mul" and first is not None and first.ints is not None:
        mask = consts[node.inputs[1]].data
        if ((mask == 0) | (mask == 1)).all():  # part of the weights, as the export writes it
            return Const(results[0], first.ints * mask.astype(np.int64), first.scale, first.grid)
    made = tuple(Const(result) for result in results)
    return made if len(made) > 1 else made[0]


def _first(node: OnnxNode, consts: dict[str, Const], value: Any) -> dict[str, Any]:
    return {name: value if name == node.inputs[0] else t.data for name, t in consts.items()}


def _narrow(scale: Any) -> Any:
    """The scale with size 1 along the axes on which it does not vary."""
    for axis in range(scale.ndim):
        first = np.take(scale, [0], axis)
        if (scale == first).all():
            scale = first
    return scale


def _evaluated(b: Builder, node: OnnxNode, given: dict[str, Any]) -> list[Any]:
    onnx = require("onnx", "onnx")
    reference = require("onnx.reference", "onnx")
    proto = onnx.helper.make_node(node.op, list(node.inputs), list(node.outputs),
                                  domain=node.domain, **_plain(onnx, node))  # fmt: skip
    names = list(dict.fromkeys(given))
    infos = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(given[name].dtype), given[name].shape
        )
        for name in names
    ]
    outs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs]
    graph = onnx.helper.make_graph([proto], "constant", infos, outs)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", b.model.opset)]
    )
    try:
        found = reference.ReferenceEvaluator(model).run(None, given)
    except (NotImplementedError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(
            f"constants that ONNX's reference evaluator cannot compute ({error}); folded constants"
            " are supported; simplify the model before exporting"
        ) from error
    return [np.asarray(value) for value in found]


def _plain(onnx: Any, node: OnnxNode) -> dict[str, Any]:
    return {
        name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attrs.items()
    }
