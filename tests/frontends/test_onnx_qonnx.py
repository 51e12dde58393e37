# SPDX-License-Identifier: Apache-2.0
"""QONNX models (as Brevitas exports them) and QLinear operators, against their own executors."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import OnnxMaker, onnx, outputs, save
from typer.testing import CliRunner

from adaqat.deploy import Graph, UsageError, import_onnx, load, quantize_input
from adaqat.deploy.cli import deploy_app
from adaqat.deploy.emit import layout
from adaqat.deploy.model_source import open_model
from adaqat.deploy.targets import get
from adaqat.deploy.verification import compare_host


def executed(model, inputs: np.ndarray) -> np.ndarray:
    """Outputs of the qonnx package's executor."""
    wrapper = pytest.importorskip("qonnx.core.modelwrapper", reason="qonnx is not installed")
    execute = pytest.importorskip("qonnx.core.onnx_exec").execute_onnx
    shapes = pytest.importorskip("qonnx.transformation.infer_shapes").InferShapes
    wrapped = wrapper.ModelWrapper(model).transform(shapes())
    name = wrapped.graph.output[0].name
    return np.concatenate([execute(wrapped, {"x": x[None]})[name] for x in inputs])


def step_difference(graph: Graph, model, inputs: np.ndarray) -> tuple[int, int, int]:
    """(values, how many differ, largest difference) in output codes; then host C is compared."""
    wanted = executed(model, inputs)
    codes = quantize_input(graph, inputs)
    info = graph.output_node.output
    found = outputs(graph, codes).reshape(wanted.shape)
    step = np.abs(np.rint(wanted / info.scale + info.zero) - found)
    assert compare_host(layout(graph, get("c99"), "net"), codes).mismatches == 0
    return step.size, int(np.count_nonzero(step)), int(step.max())


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_and_activations_of_every_width(bits, tmp_path):
    make = OnnxMaker(bits)
    act = max(bits, 2)
    x = make.quant("x", 8, scale=1 / 64)
    shape = (6, 3, 3, 3)
    scale = make.rng.uniform(0.02, 0.05, (6, 1, 1, 1)).astype(np.float32)
    real = make.const(make.rng.normal(0, 1, shape) * scale * 2.0 ** (bits - 2))
    if bits == 1:
        w = make.node("BipolarQuant", [real, make.const(scale)], domain="qonnx.custom_op.general")
    else:
        w = make.quant(real, bits, scale=scale, narrow=bits > 2)
    y = make.node("Conv", [x, w, make.const(make.rng.normal(0, 0.3, 6))], pads=[1, 1, 1, 1])
    y = make.quant(make.node("Relu", [y]), act, scale=2.0**-act * 3, signed=False)
    y = make.node("AveragePool", [y], kernel_shape=[5, 5])
    y = make.node("Mul", [y, make.const(25.0)])
    step = 2.0**-act * 3
    kept = {  # low bits dropped behind the pool, in the three ways there are
        0: lambda: make.quant(y, act, scale=32 * step, signed=False, mode="FLOOR"),
        1: lambda: make.node(
            "Trunc", [y, *map(make.const, (step, 0.0, act + 5, act))],
            domain="qonnx.custom_op.general", rounding_mode="FLOOR"),
        2: lambda: make.node(
            "Trunc", [y, *map(make.const, (step, 0.0, act + 5, 32 * step, act))],
            domain="qonnx.custom_op.general", rounding_mode="FLOOR", signed=0),
    }
    y = kept[bits % 3]()
    y = make.node("Reshape", [y, make.const([1, -1], "int64")])
    dense = make.quant(make.const(make.rng.normal(0, 1, (5, 6))), max(bits, 2), scale=0.25)
    y = make.node("MatMul", [y, make.node("Transpose", [dense], perm=[1, 0])])
    y = make.quant(y, 8, scale=0.5)
    model = make.model(y, [1, 3, 5, 5], opset=13, out_dtype="float32", out_shape=[1, 5],
                       qonnx=2 if bits % 3 == 2 else 1)
    graph = import_onnx(save(model, tmp_path))
    layers = [node.op.weight_bits for node in graph.nodes if node.op.weight_bits]
    assert layers == [bits, max(bits, 2)]
    inputs = np.random.default_rng(9).normal(0, 1, (12, 3, 5, 5)).astype(np.float32)
    values, different, largest = step_difference(graph, model, inputs)
    assert values == 60 and largest <= 1 and different <= 6


def test_bipolar_activations_and_zero_free_weights(tmp_path):
    make = OnnxMaker(3)
    x = make.quant("x", 8, scale=1 / 32, zero=4.0)
    w = make.quant(make.const(make.rng.uniform(-3, 3, (7, 20))), 2, scale=2.0, zero=1.5,
                   signed=False)
    y = make.node("MatMul", [x, make.node("Transpose", [w], perm=[1, 0])])
    y = make.node("Add", [y, make.const(make.rng.normal(0, 1, 7))])
    y = make.node("BipolarQuant", [y, make.const(0.5)], domain="qonnx.custom_op.general")
    last = make.quant(make.const(make.rng.normal(0, 0.2, (7, 4))), 4, scale=0.05)
    y = make.quant(make.node("MatMul", [y, last]), 8, scale=0.0625)
    model = make.model(y, [1, 20], opset=13, out_dtype="float32", out_shape=[1, 4])
    graph = import_onnx(save(model, tmp_path))
    first = next(node for node in graph.nodes if node.op.weight_bits)
    assert (first.op.weights.bits, first.op.weights.step, first.op.weights.offset) == (2, 2, -3)
    inputs = np.random.default_rng(9).normal(0, 1, (20, 20)).astype(np.float32)
    assert step_difference(graph, model, inputs)[2] <= 1


def test_an_unquantised_output_takes_the_given_scale(tmp_path):
    make = OnnxMaker(3)
    w = make.quant(make.const(make.rng.normal(0, 0.3, (9, 4))), 4, scale=0.1)
    y = make.node("MatMul", [make.quant("x", 4, scale=0.25), w])
    model = make.model(y, [1, 9], opset=13, out_dtype="float32", out_shape=[1, 4])
    graph = import_onnx(save(model, tmp_path), output_scale=0.0625)
    inputs = np.random.default_rng(9).normal(0, 1, (20, 9)).astype(np.float32)
    wanted = np.clip(np.floor(executed(model, inputs) / 0.0625 + 0.5), -128, 127)
    found = outputs(graph, quantize_input(graph, inputs))
    assert np.abs(wanted - found).max() <= 1
    path, out = tmp_path / "m.onnx", tmp_path / "out"
    again = open_model(path, output_scale=0.0625)
    assert again.model_id == graph.model_id
    arguments = ["-t", "c99", "-o", str(out), "--verify", "host", "--output-scale", "0.0625"]
    done = CliRunner().invoke(deploy_app, [str(path), *arguments])
    assert done.exit_code == 0, done.output
    assert load(out / "model.adaqat").model_id == graph.model_id
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match=r"output scale .*: a positive number is needed"):
            import_onnx(path, output_scale=wrong)
    with pytest.raises(UsageError, match=r"--output-scale 0\.1: model\.adaqat has its own output"):
        open_model(out / "model.adaqat", output_scale=0.1)


def on_runtime(model, inputs: np.ndarray) -> np.ndarray:
    """Outputs of onnxruntime, which knows the operators of its own domain."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = runtime.SessionOptions()
    # without it, products of u8 and s8 saturate in 16 bits on x86 without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"x": x[None]})[0] for x in inputs]).astype(int)


def grid(make: OnnxMaker, scale: float, zero: int, dtype: str = "uint8") -> list[str]:
    return [make.const(scale), make.const(zero, dtype)]


@pytest.mark.parametrize("per_channel", [False, True])
def test_qlinear_conv_and_matmul(per_channel, tmp_path):
    make = OnnxMaker(4)
    scales = np.linspace(0.005, 0.01, 6) if per_channel else 0.007
    zeros = np.zeros(6) if per_channel else 0
    weights = make.const(make.rng.integers(-128, 128, (6, 3, 3, 3)), "int8")
    y = make.node("QLinearConv", [
        "x", *grid(make, 0.02, 120), weights, make.const(scales), make.const(zeros, "int8"),
        *grid(make, 0.04, 130), make.const(make.rng.integers(-2000, 2000, 6), "int32"),
    ], pads=[1, 1, 1, 1])  # fmt: skip
    y = make.node("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])
    y = make.node("Flatten", [y])
    dense = make.const(make.rng.integers(0, 256, (54, 5)), "uint8")
    y = make.node("QLinearMatMul", [y, *grid(make, 0.04, 130), dense, *grid(make, 0.01, 128),
                                    *grid(make, 0.5, 100)])  # fmt: skip
    model = make.model(y, [1, 3, 6, 6], dtype="uint8", out_dtype="uint8", opset=17)
    graph = import_onnx(save(model, tmp_path))
    assert graph.input_node.output.scale == pytest.approx(0.02)
    inputs = np.random.default_rng(3).integers(0, 256, (12, 3, 6, 6)).astype(np.uint8)
    step = np.abs(on_runtime(model, inputs) - outputs(graph, np.moveaxis(inputs, 1, -1)))
    assert step.max() <= 1 and np.count_nonzero(step) <= step.size // 10


def test_qlinear_operators_of_onnxruntime(tmp_path):
    make = OnnxMaker(5)
    ms = {"domain": "com.microsoft"}
    x = ["x", *grid(make, 0.03, 128)]
    a = make.node("QLinearSigmoid", [*x, *grid(make, 1 / 256, 0)], **ms)
    b = make.node("QLinearLeakyRelu", [*x, *grid(make, 0.02, 100)], alpha=0.1, **ms)
    c = make.node("QLinearMul", [a, *grid(make, 1 / 256, 0), *x, *grid(make, 0.025, 128)], **ms)
    d = make.node("QLinearAdd", [b, *grid(make, 0.02, 100), c, *grid(make, 0.025, 128),
                                 *grid(make, 0.04, 90)], **ms)  # fmt: skip
    e = make.node("QLinearConcat", [*grid(make, 0.03, 128), d, *grid(make, 0.04, 90), *x], **ms)
    f = make.node("QLinearGlobalAveragePool", [e, *grid(make, 0.03, 128), *grid(make, 0.01, 128)],
                  channels_last=0, **ms)  # fmt: skip
    f = make.node("Flatten", [f])
    w = make.const(make.rng.integers(-128, 128, (5, 8)), "int8")
    y = make.node("QGemm", [f, *grid(make, 0.01, 128), w, make.const(0.01), make.const(0, "int8"),
                            make.const(make.rng.integers(-900, 900, 5), "int32"),
                            *grid(make, 0.05, 110)], transB=1, **ms)  # fmt: skip
    e_axis = next(node for node in make.nodes if node.op_type == "QLinearConcat")
    e_axis.attribute.append(onnx.helper.make_attribute("axis", 1))
    model = make.model(y, [1, 4, 5, 5], dtype="uint8", out_dtype="uint8", opset=17)
    graph = import_onnx(save(model, tmp_path))
    inputs = np.random.default_rng(3).integers(0, 256, (15, 4, 5, 5)).astype(np.uint8)
    codes = np.moveaxis(inputs, 1, -1)
    assert np.abs(on_runtime(model, inputs) - outputs(graph, codes)).max() <= 1
    assert compare_host(layout(graph, get("c99"), "net"), codes).mismatches == 0
