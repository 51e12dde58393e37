# SPDX-License-Identifier: Apache-2.0
"""Readers of operators that hold their grids themselves: QLinearConv, QGemm, QLinearAdd, ...

Each is read as what it stands for: dequantise, compute, quantise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..requant import Float64
from .onnx_elementwise import added, multiplied, with_constant
from .onnx_file import OnnxNode
from .onnx_functions import FUNCTIONS
from .onnx_grids import read_dequantize_linear, read_quantize_linear
from .onnx_moves import read_concat
from .onnx_resize import read_softmax
from .onnx_values import Active, Const, Table, Tensor, Unreadable
from .onnx_weighted import convolved, dense
from .onnx_window import read_average, read_mean

if TYPE_CHECKING:
    from .onnx import Builder


def real(b: Builder, node: OnnxNode, at: int, axis: int = 0) -> Tensor:
    """The real tensor of inputs ``at``, ``at + 1`` (scale) and ``at + 2`` (zero point)."""
    part = replace(node, inputs=node.inputs[at : at + 3], attrs={"axis": axis})
    return read_dequantize_linear(b, part)


def coded(b: Builder, node: OnnxNode, t: Active, at: int) -> Tensor:
    """The codes of a tensor, with inputs ``at`` and ``at + 1`` as scale and zero point."""
    name = f"{node.outputs[0]}/real"  # a name that only this step uses
    b.tensors[name] = t
    inputs = (name, *node.inputs[at : at + 2])
    result = read_quantize_linear(b, replace(node, inputs=inputs, attrs={}))
    del b.tensors[name]
    return result


def weights_of(b: Builder, node: OnnxNode, at: int, axis: int) -> Const:
    """The constant of inputs ``at`` to ``at + 2``."""
    found = real(b, node, at, axis)
    if not isinstance(found, Const):
        raise Unreadable("computed weights; constant ones are supported; use a layer with weights")
    return found


def bias(b: Builder, node: OnnxNode, at: int, units: Float64) -> Callable[[int], Float64]:
    """An int32 bias in units of input scale times weight scale."""

    def made(count: int) -> Float64:
        if not node.has(at):
            return np.zeros(count)
        data = b.const(node, at, "a bias").reals.reshape(-1)
        return np.asarray(data * np.broadcast_to(units.reshape(-1), count), np.float64)

    return made


def _units(b: Builder, node: OnnxNode, weights: Const) -> Float64:
    assert weights.scale is not None
    return b.const(node, 1, "a scale").reals.reshape(-1) * weights.scale.reshape(-1)


def read_qlinear_conv(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearConv: x, w, y with scale and zero point each, and an int32 bias."""
    x, w = real(b, node, 0), weights_of(b, node, 3, 0)
    found = convolved(b, node, x, w, bias(b, node, 8, _units(b, node, w)))
    return coded(b, node, found, 6)


def read_qlinear_matmul(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearMatMul with constant weights behind."""
    x, w = real(b, node, 0), weights_of(b, node, 3, -1)
    return coded(b, node, dense(b, "QLinearMatMul", x, w, True, 1.0, np.zeros), 6)


def read_qgemm(b: Builder, node: OnnxNode) -> Tensor:
    """QGemm: a, b with scale and zero point, an int32 bias, then scale and zero point of y."""
    if node.attr("transA", 0) or not node.has(7):
        raise Unreadable("transA, or a float result; int8 results of the input are supported")
    columns_last = not node.attr("transB", 0)
    x, w = real(b, node, 0), weights_of(b, node, 3, 1 if columns_last else 0)
    alpha = float(node.attr("alpha", 1.0))
    shift = bias(b, node, 6, alpha * _units(b, node, w))
    return coded(b, node, dense(b, "QGemm", x, w, columns_last, alpha, shift), 7)


def read_qlinear_pair(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearAdd and QLinearMul of computed tensors or constants."""
    first, second = real(b, node, 0), real(b, node, 3)
    for one, other in ((first, second), (second, first)):
        if isinstance(one, Const) and not isinstance(other, Const):
            kind = "add" if node.op == "QLinearAdd" else "mul"
            found = with_constant(b, other, kind, one.reals)
            break
    else:
        found = (
            added(b, first, second, 1.0)
            if node.op == "QLinearAdd"
            else multiplied(b, first, second)
        )
    assert not isinstance(found, Const)
    return coded(b, node, found, 6)


def read_qlinear_function(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearSigmoid and QLinearLeakyRelu."""
    found = real(b, node, 0)
    assert isinstance(found, Table)
    function = FUNCTIONS[node.op.removeprefix("QLinear")]
    return coded(b, node, Table(found.codes, function(found.real, node)), 3)


def read_qlinear_pool(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearGlobalAveragePool and QLinearAveragePool."""
    if node.attr("channels_last", 0):
        raise Unreadable("channels_last; channels in front are supported; export without it")
    name = f"{node.outputs[0]}/input"
    b.tensors[name] = real(b, node, 0)
    read = read_mean if "Global" in node.op else read_average
    part = replace(node, op=node.op.removeprefix("QLinear"), inputs=(name,))
    found = read(b, part)
    del b.tensors[name]
    assert not isinstance(found, Const)
    return coded(b, node, found, 3)


def read_qlinear_concat(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearConcat: scale and zero point of y, then x, scale, zero point of every part."""
    names = []
    for i, at in enumerate(range(2, len(node.inputs), 3)):
        names.append(f"{node.outputs[0]}/{i}")
        b.tensors[names[-1]] = real(b, node, at)
    found = read_concat(b, replace(node, inputs=tuple(names)))
    for name in names:
        del b.tensors[name]
    assert not isinstance(found, Const)
    return coded(b, node, found, 0)


def read_qlinear_softmax(b: Builder, node: OnnxNode) -> Tensor:
    """QLinearSoftmax."""
    name = f"{node.outputs[0]}/input"
    b.tensors[name] = real(b, node, 0)
    found = read_softmax(b, replace(node, inputs=(name,)))
    del b.tensors[name]
    assert not isinstance(found, Const)
    return coded(b, node, found, 3)


QLINEAR: dict[str, Callable[[Builder, OnnxNode], Tensor]] = {
    "QGemm": read_qgemm,
    "QLinearAdd": read_qlinear_pair,
    "QLinearAveragePool": read_qlinear_pool,
    "QLinearConcat": read_qlinear_concat,
    "QLinearConv": read_qlinear_conv,
    "QLinearGlobalAveragePool": read_qlinear_pool,
    "QLinearLeakyRelu": read_qlinear_function,
    "QLinearMatMul": read_qlinear_matmul,
    "QLinearMul": read_qlinear_pair,
    "QLinearSigmoid": read_qlinear_function,
    "QLinearSoftmax": read_qlinear_softmax,
}
"""How each operator is read, by its name."""
