# SPDX-License-Identifier: Apache-2.0
"""All ONNX operators that are read, and what to use instead of those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .onnx_constants import read_constant
from .onnx_elementwise import ELEMENTWISE
from .onnx_file import OnnxNode, printable
from .onnx_grids import GRIDS
from .onnx_moves import MOVES, constant_first
from .onnx_qlinear import QLINEAR
from .onnx_weighted import WEIGHTED
from .onnx_window import POOLS

if TYPE_CHECKING:
    from .onnx import Reader

_RECURRENT = "a stack of dilated Conv (TCN), or several steps written out"
_LOOPS = "a graph without control flow (export with fixed sizes)"
_NORMS = "BatchNormalization, whose statistics are constants"
_DYNAMIC = "QLinearConv, QLinearMatMul or QuantizeLinear with constant scales"
_ATTENTION = "MatMul with constant weights"
NEAREST = {
    "Attention": _ATTENTION, "ConvInteger": _DYNAMIC, "DynamicQuantizeLinear": _DYNAMIC,
    "Einsum": _ATTENTION, "GRU": _RECURRENT, "GroupNormalization": _NORMS, "If": _LOOPS,
    "InstanceNormalization": _NORMS, "LSTM": _RECURRENT, "LayerNormalization": _NORMS,
    "LogSoftmax": "Softmax, or ArgMax of the scores", "Loop": _LOOPS, "LpPool": "AveragePool",
    "MatMulInteger": _DYNAMIC, "MultiThreshold": "Quant", "Pow": "Mul of a tensor with itself",
    "RNN": _RECURRENT, "ReduceMax": "GlobalMaxPool", "ReduceSum": "GlobalAveragePool and Mul",
    "Scan": _LOOPS, "TopK": "ArgMax", "Where": "Mul with a quantised mask",
    "DepthToSpace": "Reshape, Transpose, Reshape", "SpaceToDepth": "Reshape, Transpose, Reshape",
    "Expand": "an operand of the full size, or one value per channel",
    "Max": "Clip or Relu", "Min": "Clip", "Sqrt": "a quantised table: Sigmoid, Tanh, Exp",
    "FloatQuant": "Quant", "ThresholdedRelu": "Relu or LeakyRelu",
}  # fmt: skip
"""The nearest form that is read, by the name of an operator that is not."""

READERS: dict[str, Reader] = {
    name: constant_first(read)
    for name, read in sorted(
        {**ELEMENTWISE, **GRIDS, **MOVES, **POOLS, **QLINEAR, **WEIGHTED}.items()
    )
}
READERS["Constant"] = read_constant


def unsupported(node: OnnxNode) -> str:
    """The message for a node whose operator is not read."""
    domain = f" of {printable(node.domain)}" if node.domain not in ("", "ai.onnx") else ""
    nearest = NEAREST.get(node.op)
    advice = f"nearest: {nearest}" if nearest else "replace it or cut the model before it"
    return (
        f"{node.name} ({node.op}): operator {node.op}{domain}; {', '.join(READERS)} are supported;"
        f" {advice}"
    )
