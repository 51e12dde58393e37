# SPDX-License-Identifier: Apache-2.0
"""Imported QDQ models against ONNX's reference evaluator, then host C and the emulated core."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import OnnxMaker, compared, onnx, outputs, reference, save

from adaqat.deploy import import_onnx, quantize_input, verify
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.source import Input
from adaqat.deploy.targets import get
from adaqat.deploy.verification import compare_host


def floats(rng: np.random.Generator, shape, scale: float, count: int = 12) -> np.ndarray:
    """Random and extreme inputs."""
    reach = 200 * scale
    random = rng.uniform(-reach, reach, (count, *shape))
    ends = [np.full(shape, -reach), np.zeros(shape), np.full(shape, reach)]
    return np.concatenate([random, ends]).astype(np.float32)


def network(seed: int, dtype: str, axis: int | None):
    """Every layer of a residual classifier."""
    zero = 3 if dtype == "int8" else 131
    make = OnnxMaker(seed)

    def step(x, scale):
        return make.qdq(x, scale, zero, dtype)

    def conv(x, shape, *, bias=True, **attrs):
        inputs = [x, make.weights(shape, axis=axis, dtype=dtype)]
        if bias:
            inputs.append(make.const(make.rng.normal(0, 0.5, shape[0])))
        return make.node("Conv", inputs, **attrs)

    x = step("x", 0.02)
    stem = conv(x, (8, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    stem = step(make.node("Relu", [stem]), 0.03)
    deep = step(conv(stem, (8, 1, 3, 3), group=8, auto_pad="SAME_UPPER"), 0.05)
    point = conv(deep, (8, 8, 1, 1), bias=False)
    channel = (8, 1, 1)
    point = make.node("BatchNormalization", [point, *(
        make.const(make.rng.uniform(0.3, 1.0, 8)) for _ in range(4))])
    point = make.node("Mul", [point, make.const(make.rng.uniform(0.5, 1.5, channel))])
    point = step(make.node("Clip", [point, make.const(0.0), make.const(6.0)]), 0.04)
    joined = make.node("Relu", [make.node("Add", [stem, point])])
    joined = step(joined, 0.05)
    pooled = make.node("MaxPool", [joined], kernel_shape=[3, 3], strides=[2, 2],
                       pads=[1, 1, 1, 1])
    mean = step(make.node("AveragePool", [joined], kernel_shape=[2, 2], strides=[2, 2]), 0.04)
    wide = step(make.node("Concat", [pooled, mean], axis=1), 0.05)
    gate = step(make.node("GlobalAveragePool", [wide]), 0.03)
    gate = step(make.node("Sigmoid", [gate]), 1 / 256)
    wide = step(make.node("Mul", [wide, gate]), 0.03)
    flat = make.node("Flatten", [wide])
    hidden = make.node("Gemm", [flat, make.weights((20, 256), axis=None if axis is None else 0,
                                                   dtype=dtype, size=0.2),
                                make.const(make.rng.normal(0, 1, 20))], transB=1)
    hidden = step(make.node("Relu", [hidden]), 0.08)
    last = make.node("MatMul", [hidden, make.weights((20, 6), axis=None if axis is None else 1,
                                                     dtype=dtype)])
    out = make.quantize(make.node("Add", [last, make.const(np.arange(6.0))]), 0.1, zero, dtype)
    return make.model(out, [1, 3, 16, 16], out_dtype=dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 0], ids=["tensor", "channel"])
def test_network(dtype, axis, tmp_path):
    model = network(1, dtype, axis)
    graph = import_onnx(save(model, tmp_path))
    inputs = floats(np.random.default_rng(5), (3, 16, 16), 0.02)
    codes = quantize_input(graph, inputs)
    values, different, largest = compared(graph, model, inputs, codes)
    print(f"{dtype}: {different} of {values} codes differ, by at most {largest}")
    # several layers deep, a code here and there rounds the other way
    assert values == 90 and largest <= 2 and different <= values // 3, (different, largest)
    assert len(np.unique(outputs(graph, codes))) > 20
    assert compare_host(layout(graph, get("c99"), "net"), codes).mismatches == 0


def test_network_on_the_emulated_core(tmp_path):
    pytest.importorskip("unicorn")
    graph = import_onnx(save(network(2, "int8", 0), tmp_path))
    codes = quantize_input(graph, floats(np.random.default_rng(5), (3, 16, 16), 0.02, 2))
    report = verify(graph, "cortex-m4", codes, executor="cortex-m4")
    assert report.mismatches == 0 and report.verify[0]["values"] > 0


FUNCTIONS = {
    "Sigmoid": {}, "Tanh": {}, "HardSigmoid": {"alpha": 0.3}, "HardSwish": {}, "Elu": {},
    "LeakyRelu": {"alpha": 0.17}, "Relu": {}, "Softplus": {}, "Abs": {}, "Neg": {}, "Erf": {},
    "Exp": {}, "Softsign": {}, "Clip": {}, "PRelu": {}, "Square": {}, "Swish": {},
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_on_every_code(name, tmp_path):
    make = OnnxMaker(3)
    x = make.qdq("x", 0.03, 5)
    extra = {"Clip": [make.const(-0.7), make.const(1.2)], "PRelu": [make.const([0.21])]}
    if name == "Square":
        y = make.node("Mul", [x, x])
    elif name == "Swish":  # as it is exported before opset 24
        y = make.node("Mul", [x, make.node("Sigmoid", [x])])
    else:
        y = make.node(name, [x, *extra.get(name, [])], **FUNCTIONS[name])
    model = make.model(make.quantize(y, 0.02, -11), [1, 256])
    graph = import_onnx(save(model, tmp_path))
    assert [node.op.kind for node in graph.nodes] == ["input", "lookup"]
    codes = np.arange(-128, 128, dtype=np.int8)[None]
    inputs = (codes.astype(np.float32) - 5) * np.float32(0.03)
    _, different, largest = compared(graph, model, inputs, codes)
    assert largest <= 1 and different <= 2  # ties of float32


def test_moves(tmp_path):
    make = OnnxMaker(4)

    def ints(*values):
        return make.const(values, "int64")

    codes = make.quantize("x", 0.05, 7)
    x = make.node("DequantizeLinear", [codes, make.const(0.05), make.const(7, "int8")])
    # a channel shuffle, a removable pair of transposes, a slice, a split, padding, larger, flat
    x = make.node("Reshape", [x, ints(0, 2, 3, 5, 4)])
    x = make.node("Reshape", [make.node("Transpose", [x], perm=[0, 2, 1, 3, 4]), ints(1, 6, 5, -1)])
    x = make.node("Transpose", [x], perm=[0, 3, 2, 1])
    x = make.node("Transpose", [x], perm=[0, 3, 2, 1])
    x = make.node("Slice", [x, ints(0, 1), ints(6, 9), ints(1, 2), ints(1, 2)])
    make.node("Split", [x, ints(4, 2)], outputs=2, axis=1, name="part")
    x = make.node("Concat", ["part.1", "part"], axis=1)
    x = make.node("Pad", [x, ints(0, 0, 1, 0, 0, 1, 0, 2), make.const(0.0)])
    x = make.node("Resize", [x, "", make.const([1, 1, 2, 3])], mode="nearest",
                  coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = make.node("Squeeze", [make.node("Unsqueeze", [x, ints(1)]), ints(1)])
    x = make.node("Flatten", [make.node("Identity", [x])])
    model = make.model(make.quantize(x, 0.05, 7), [1, 6, 5, 4])
    graph = import_onnx(save(model, tmp_path))
    inputs = floats(np.random.default_rng(1), (6, 5, 4), 0.05, 2)
    given = quantize_input(graph, inputs)
    assert compared(graph, model, inputs, given)[1:] == (0, 0)
    assert compare_host(layout(graph, get("c99"), "net"), given).mismatches == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("first", ["quantised", "moved"])
def test_transposes_around_a_convolution_vanish(first, channels, tmp_path):
    make = OnnxMaker(5)
    if first == "moved":
        x = make.qdq(make.node("Transpose", ["x"], perm=[0, 3, 1, 2]), 0.05, 7)
    else:
        x = make.node("Transpose", [make.qdq("x", 0.05, 7)], perm=[0, 3, 1, 2])
    y = make.node("Conv", [x, make.weights((5, channels, 3, 3), axis=0)], pads=[1, 1, 1, 1])
    y = make.node("Transpose", [make.qdq(y, 0.05, -2)], perm=[0, 2, 3, 1])
    model = make.model(make.quantize(y, 0.05, -2), [1, 6, 5, channels])
    graph = import_onnx(save(model, tmp_path))
    assert [node.op.kind for node in graph.nodes] == ["input", "conv2d"]
    assert isinstance(graph.input_node.op, Input) and graph.input_node.op.layout == "NHWC"
    inputs = floats(np.random.default_rng(1), (6, 5, channels), 0.05)
    wanted = reference(model, inputs).astype(int)
    found = np.moveaxis(outputs(graph, quantize_input(graph, inputs)), 1, -1).astype(int)
    assert np.abs(wanted - found).max() <= 1


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Conv1d", "Groups"])
def test_convolutions(op, tmp_path):
    make = OnnxMaker(6)
    shape = {"Conv1d": [1, 4, 19]}.get(op, [1, 4, 7, 6])
    x = make.qdq("x", 0.02, 11)
    if op == "ConvTranspose":
        y = make.node("ConvTranspose", [x, make.weights((4, 5, 3, 2), axis=1),
                                        make.const(make.rng.normal(0, 1, 5))],
                      strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 0])  # fmt: skip
    elif op == "Conv1d":  # dilated and causal
        y = make.node("Conv", [x, make.weights((5, 4, 3), axis=0)], dilations=[2], pads=[4, 0])
        y = make.node("MaxPool", [make.qdq(y, 0.05)], kernel_shape=[2], strides=[2])
    elif op == "Groups":
        y = make.node("Conv", [x, make.weights((6, 2, 3, 3), axis=0)], group=2, dilations=[2, 1],
                      pads=[2, 0, 2, 1])  # fmt: skip
    else:
        y = make.node("Conv", [x, make.weights((6, 4, 3, 3))], auto_pad="SAME_LOWER",
                      strides=[2, 2])  # fmt: skip
    model = make.model(make.quantize(y, 0.04, -9), shape)
    graph = import_onnx(save(model, tmp_path))
    inputs = floats(np.random.default_rng(2), shape[1:], 0.02)
    codes = quantize_input(graph, inputs)
    wanted = reference(model, inputs).astype(int)
    found = outputs(graph, codes).astype(int).reshape(wanted.shape)
    assert np.abs(wanted - found).max() <= 1
    assert np.count_nonzero(wanted != found) <= wanted.size // 100
    assert compare_host(layout(graph, get("c99"), "net"), codes).mismatches == 0


def test_integer_input_and_open_batch(tmp_path):
    make = OnnxMaker(7)
    # raw camera bytes: normalised per channel in front of the first quantiser, an exact table
    x = make.node("Cast", ["x"], to=1)
    x = make.node("Sub", [x, make.const(np.reshape([120.0, 110.0, 100.0], (1, 3, 1, 1)))])
    x = make.node("Div", [x, make.const(np.reshape([58.0, 57.0, 56.0], (3, 1, 1)))])
    y = make.node("Conv", [make.qdq(x, 0.03, -4), make.weights((4, 3, 2, 2), axis=0)])
    model = make.model(make.quantize(y, 0.1), ["N", 3, 5, 5], dtype="uint8")
    graph = import_onnx(save(model, tmp_path))
    kinds = [node.op.kind for node in graph.nodes]
    assert kinds == ["input", "lookup", "conv2d"] and str(graph.input_node.output.type) == "u8"
    inputs = np.random.default_rng(3).integers(0, 256, (9, 3, 5, 5)).astype(np.uint8)
    found = compared(graph, model, inputs, np.moveaxis(inputs, 1, -1))
    assert found[2] <= 1 and found[1] <= found[0] // 100


def test_softmax_and_argmax(tmp_path):
    for op in ("Softmax", "ArgMax"):
        make = OnnxMaker(8)
        x = make.qdq("x", 0.06, 7)
        y = make.node("Gemm", [x, make.weights((9, 7)), make.const(np.zeros(7))])
        y = make.qdq(y, 0.05)
        y = make.node(op, [y], axis=1)
        if op == "Softmax":
            y = make.quantize(y, 1 / 256, 0, "uint8")
        model = make.model(y, [1, 9], out_dtype="uint8" if op == "Softmax" else "int64")
        graph = import_onnx(save(model, tmp_path))
        inputs = floats(np.random.default_rng(3), (9,), 0.02, 40)
        values, different, largest = compared(graph, model, inputs, quantize_input(graph, inputs))
        # a score one code away may decide another class where two are equal
        assert largest <= 2 if op == "Softmax" else different <= values // 20


@pytest.mark.parametrize("form", ["folded", "int4"])
def test_forms_of_constant_weights(form, tmp_path):
    """Weights that a pair of nodes quantises, and weights of four bits."""
    make = OnnxMaker(9)
    x = make.qdq("x", 0.02, 3)
    if form == "folded":
        scales, zeros = make.const([0.01, 0.02, 0.015, 0.03]), make.const([0] * 4, "int8")
        real = make.const(make.rng.normal(0, 0.5, (4, 2, 3, 3)))
        pair = make.node("QuantizeLinear", [real, scales, zeros], axis=0)
        w = make.node("DequantizeLinear", [pair, scales, zeros], axis=0)
    else:
        codes = make.rng.integers(-8, 8, (4, 2, 3, 3)).astype(np.int8)
        tensor = onnx.helper.make_tensor(
            "four", onnx.TensorProto.INT4, codes.shape, codes.reshape(-1).tolist()
        )
        make.constants.append(tensor)
        w = make.node("DequantizeLinear", ["four", make.const(0.07)])
    y = make.node("Conv", [x, w, make.const(make.rng.normal(0, 1, 4))])
    model = make.model(make.quantize(y, 0.1), [1, 2, 6, 6], opset=21)
    model.ir_version = 10
    graph = import_onnx(save(model, tmp_path))
    assert graph.nodes[1].op.weight_bits == (8 if form == "folded" else 4)
    inputs = floats(np.random.default_rng(2), (2, 6, 6), 0.02)
    values, different, largest = compared(graph, model, inputs, quantize_input(graph, inputs))
    assert largest <= 1 and different <= values // 50
