# SPDX-License-Identifier: Apache-2.0
"""Models quantised by onnxruntime's own tools, in both of its formats."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import OnnxMaker, onnx, save

from adaqat.deploy import import_onnx, quantize_input
from adaqat.deploy.emit import layout
from adaqat.deploy.onnx_reference import compare_with_onnx
from adaqat.deploy.targets import get
from adaqat.deploy.verification import compare_host

quantization = pytest.importorskip(
    "onnxruntime.quantization", reason="onnxruntime is not installed"
)


def real_network():
    """A residual network in float, as a training framework exports it."""
    make = OnnxMaker(12)

    def conv(x, outputs, inputs, kernel=3, **attrs):
        fan = np.sqrt(2 / (inputs * kernel**2))
        w = make.const(make.rng.normal(0, fan, (outputs, inputs, kernel, kernel)))
        pads = [kernel // 2] * 4
        return make.node("Conv", [x, w, make.const(make.rng.normal(0, 0.1, outputs))], pads=pads,
                         kernel_shape=[kernel, kernel], **attrs)

    x = make.node("Relu", [conv("x", 8, 3)])
    y = make.node("Relu", [conv(x, 12, 8, strides=[2, 2])])
    y = conv(y, 12, 12)
    y = make.node("Relu", [make.node("Add", [y, conv(x, 12, 8, 1, strides=[2, 2])])])
    y = make.node("Clip", [conv(y, 12, 1, group=12), make.const(0.0), make.const(6.0)])
    y = make.node("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])
    gate = make.node("Sigmoid", [make.node("GlobalAveragePool", [y])])
    y = make.node("Concat", [make.node("Mul", [y, gate]), y], axis=1)
    y = make.node("Flatten", [make.node("GlobalAveragePool", [y])])
    w = make.const(make.rng.normal(0, 0.3, (24, 10)))
    y = make.node("Gemm", [y, w, make.const(make.rng.normal(0, 0.1, 10))])
    return make.model(y, [1, 3, 16, 16], opset=17, out_dtype="float32", out_shape=[1, 10])


class Reader(quantization.CalibrationDataReader):
    """A few random batches."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.batches = iter([rng.normal(0, 1, (1, 3, 16, 16)) for _ in range(20)])

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"x": batch.astype(np.float32)}


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
def test_statically_quantised(form, per_channel, tmp_path):
    types = quantization.QuantType
    source, path = save(real_network(), tmp_path), tmp_path / "q.onnx"
    quantization.quantize_static(
        str(source), str(path), Reader(), quant_format=getattr(quantization.QuantFormat, form),
        per_channel=per_channel, weight_type=types.QInt8,
        activation_type=types.QInt8 if form == "QDQ" else types.QUInt8,
    )  # fmt: skip
    graph = import_onnx(path)
    used = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert ("QLinearConv" in used) == (form == "QOperator")
    inputs = np.random.default_rng(1).normal(0, 1, (40, 3, 16, 16)).astype(np.float32)
    codes = quantize_input(graph, inputs)
    found = compare_with_onnx(path, graph, codes)
    print(f"{form}: {found}")
    assert found["values"] == 400 and found["largest"] <= 3 and found["same_top"] >= 38
    assert compare_host(layout(graph, get("c99"), "net"), codes[:8]).mismatches == 0
