# SPDX-License-Identifier: Apache-2.0
"""Imported .tflite operators against LiteRT's reference kernels: every byte of every tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_models import TfMaker

from adaqat.deploy import UnsupportedError, UsageError, import_tflite
from adaqat.deploy.emit import layout
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.litert import compare_roundings, compare_with_litert
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host

SAME, VALID = 0, 1
NONE, RELU, RELU1, RELU6 = 0, 1, 2, 3


def prove(data: bytes, folder: Path, samples: int = 40, kinds: set[str] | None = None) -> None:
    """LiteRT = simulator = host C, every tensor, extreme and random inputs."""
    path = folder / "model.tflite"
    path.write_bytes(data)
    found = read_tflite(path)
    if kinds is not None:
        assert kinds <= {node.op.kind for node in found.graph.nodes}
    codes = make_inputs(found.graph, samples=samples, seed=1)
    entry = compare_with_litert(path, codes, found)
    assert entry["values"] > 0
    assert entry["mismatches"] == 0, entry
    result = compare_host(layout(found.graph, get("c99"), "net"), codes).result()
    assert result.mismatches == 0, result.first_mismatch


@pytest.mark.parametrize("seed", range(6))
def test_conv(seed, tmp_path):
    make = TfMaker(seed)
    stride, dilation = (1, 1) if seed % 2 else (2, 1), (1, 1) if seed % 3 else (2, 1)
    padding, act = seed % 2, seed % 4
    x = make.tensor([1, 9, 8, 3], 0.02, -5 + seed)
    w = make.weights([5, 3, 3, 3], 0, per_channel=seed != 3)
    if padding == SAME:
        rows, cols = -(-9 // stride[0]), -(-8 // stride[1])
    else:
        rows = (9 - 2 * dilation[0] - 1) // stride[0] + 1
        cols = (8 - 2 * dilation[1] - 1) // stride[1] + 1
    y = make.tensor([1, rows, cols, 5], 0.04, -10)
    make.op("CONV_2D", [x, w, make.bias(5)], y, 3, options="Conv2DOptions", padding=padding,
            strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0],
            dilationWFactor=dilation[1], fusedActivationFunction=act)  # fmt: skip
    prove(make.data(x, y), tmp_path, kinds={"tflite_conv2d"})


@pytest.mark.parametrize("seed", range(4))
def test_factors_above_one(seed, tmp_path):
    make = TfMaker(seed)
    x = make.tensor([1, 5, 5, 2], 0.9, 3)
    w = make.tensor([4, 1, 1, 2], [0.9, 1.7, 3.0, 0.2], axis=0,
                    data=make.rng.integers(-3, 4, (4, 1, 1, 2)).astype(np.int8))  # fmt: skip
    y = make.tensor([1, 5, 5, 4], [0.8, 0.3, 1.5, 2.9][seed], 1)
    make.op("CONV_2D", [x, w, make.bias(4, 5)], y, 3, options="Conv2DOptions", strideH=1, strideW=1)
    prove(make.data(x, y), tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_depthwise(seed, tmp_path):
    make = TfMaker(seed)
    multiplier = 1 + seed % 2
    x = make.tensor([1, 7, 6, 4], 0.03, 12)
    w = make.weights([1, 3, 2, 4 * multiplier], 3)
    y = make.tensor([1, 4, 3, 4 * multiplier], 0.02, -128)
    make.op("DEPTHWISE_CONV_2D", [x, w, make.bias(4 * multiplier)], y, 3,
            options="DepthwiseConv2DOptions", strideH=2, strideW=2, depthMultiplier=multiplier,
            fusedActivationFunction=seed % 4)  # fmt: skip
    prove(make.data(x, y), tmp_path, kinds={"tflite_depthwise_conv2d"})


@pytest.mark.parametrize("seed", range(2))
def test_linear_rounds_once(seed, tmp_path):
    make = TfMaker(seed)
    x = make.tensor([1, 4, 4, 3], 0.05, 7)
    w = make.weights([40, 48], 0, per_channel=False)
    y = make.tensor([1, 40], 0.011, 5)
    bias = make.bias(40, of=[x, w])
    make.op("FULLY_CONNECTED", [x, w, bias], y, 4, options="FullyConnectedOptions",
            fusedActivationFunction=seed % 2)  # fmt: skip
    prove(make.data(x, y), tmp_path, 60, kinds={"tflite_linear"})


def test_linear_per_channel(tmp_path):
    make = TfMaker(5)
    x = make.tensor([1, 30], 0.05, 7)
    y = make.tensor([1, 20], 0.02, 5)
    w = make.weights([20, 30], 0)
    make.op("FULLY_CONNECTED", [x, w, make.bias(20)], y, 12, options="FullyConnectedOptions")
    prove(make.data(x, y), tmp_path, 60)


def test_float_input_and_output(tmp_path):
    make = TfMaker(1)
    x = make.tensor([1, 6, 5, 3], None, type_="float32")
    q = make.tensor([1, 6, 5, 3], 0.0173, 11)
    make.op("QUANTIZE", [x], q, options="QuantizeOptions")
    y = make.tensor([1, 6, 5, 4], 0.04, -3)
    make.op("CONV_2D", [q, make.weights([4, 3, 3, 3], 0), make.bias(4)], y, 3,
            options="Conv2DOptions", strideH=1, strideW=1)  # fmt: skip
    z = make.tensor([1, 6, 5, 4], None, type_="float32")
    make.op("DEQUANTIZE", [y], z, 2)
    prove(make.data(x, z), tmp_path, kinds={"tflite_conv2d"})
    graph = import_tflite(tmp_path / "model.tflite")
    assert graph.output_node.output.zero == -3
    assert graph.input_node.output.scale == pytest.approx(0.0173)


@pytest.mark.parametrize("channels", [3, 4])
def test_int4_weights(channels, tmp_path):
    make = TfMaker(2)
    x = make.tensor([1, 6, 5, channels], 0.05, 7)
    y = make.tensor([1, 6, 5, 5], 0.07, -3)
    w = make.weights4([5, 3, 3, channels], 0)
    make.op("CONV_2D", [x, w, make.bias(5, 300)], y, 7, options="Conv2DOptions", strideH=1,
            strideW=1)  # fmt: skip
    data = make.data(x, y)
    prove(data, tmp_path, kinds={"tflite_conv2d"})
    graph = import_tflite(tmp_path / "model.tflite")
    assert graph.output_node.op.weight_bits == 4


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("seed", range(3))
def test_two_inputs(name, seed, tmp_path):
    make = TfMaker(seed)
    x = make.tensor([1, 6, 6, 2], 0.03, -3)
    branches = []
    for i, scale in enumerate((0.021 + 0.01 * seed, 0.05)):
        w = make.weights([4, 1, 1, 2], 0)
        y = make.tensor([1, 6, 6, 4], scale, 9 - 20 * i)
        make.op("CONV_2D", [x, w, make.bias(4, 900)], y, 3, options="Conv2DOptions", strideH=1,
                strideW=1)  # fmt: skip
        branches.append(y)
    out = make.tensor([1, 6, 6, 4], 0.06, 4)
    make.op(name, branches, out, 2, options=f"{name.capitalize()}Options",
            fusedActivationFunction=seed)  # fmt: skip
    prove(make.data(x, out), tmp_path, kinds={"tflite_mul" if name == "MUL" else "tflite_add"})


def test_a_product_with_one_value_per_channel(tmp_path):
    make = TfMaker(3)
    x = make.tensor([1, 6, 6, 4], 0.03, -3)
    pooled = make.tensor([1, 1, 1, 4], 0.03, -3)
    make.op("AVERAGE_POOL_2D", [x], pooled, 2, options="Pool2DOptions", padding=VALID, strideH=6,
            strideW=6, filterHeight=6, filterWidth=6)  # fmt: skip
    out = make.tensor([1, 6, 6, 4], 0.02, 4)
    make.op("MUL", [x, pooled], out, 2, options="MulOptions")
    prove(make.data(x, out), tmp_path, kinds={"tflite_mul", "tflite_avgpool2d"})


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("act", [NONE, RELU6])
def test_pools(name, padding, act, tmp_path):
    make = TfMaker(1)
    x = make.tensor([1, 7, 6, 3], 0.1, -7)
    shape = [1, 4, 3, 3] if padding == SAME else [1, 3, 2, 3]
    y = make.tensor(shape, 0.1, -7)
    make.op(name, [x], y, 2, options="Pool2DOptions", padding=padding, strideH=2, strideW=2,
            filterHeight=3, filterWidth=3, fusedActivationFunction=act)  # fmt: skip
    prove(make.data(x, y), tmp_path)


@pytest.mark.parametrize("scale", [0.02, 0.17, 0.9, 3.0])
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_softmax(scale, beta, tmp_path):
    make = TfMaker(1)
    x = make.tensor([1, 5, 11], scale, 3)
    y = make.tensor([1, 5, 11], 1 / 256, -128)
    make.op("SOFTMAX", [x], y, 2, options="SoftmaxOptions", beta=beta)
    prove(make.data(x, y), tmp_path, 80, kinds={"tflite_softmax"})


def test_quantize_and_reshape(tmp_path):
    make = TfMaker(1)
    x = make.tensor([1, 4, 4, 2], 0.05, 130, type_="uint8")
    q = make.tensor([1, 4, 4, 2], 0.05, 2)
    make.op("QUANTIZE", [x], q, 2, options="QuantizeOptions")
    r = make.tensor([1, 32], 0.05, 2)
    make.op("RESHAPE", [q, make.ints([1, 32])], r, options="ReshapeOptions")
    y = make.tensor([1, 32], 0.031, -11)
    make.op("QUANTIZE", [r], y, 2, options="QuantizeOptions")
    prove(make.data(x, y), tmp_path, kinds={"lookup", "reshape"})


def test_native_rounding_differs_by_one_code_at_most(tmp_path):
    make = TfMaker(2)
    x = make.tensor([1, 8, 8, 3], 0.02, -5)
    w = make.weights([8, 3, 3, 3], 0)
    y = make.tensor([1, 8, 8, 8], 0.04, -10)
    make.op("CONV_2D", [x, w, make.bias(8)], y, 3, options="Conv2DOptions", strideH=1, strideW=1)
    path = tmp_path / "m.tflite"
    path.write_bytes(make.data(x, y))
    assert {node.op.kind for node in import_tflite(path, rounding="native")} == {"input", "conv2d"}
    found = compare_roundings(path, make_inputs(import_tflite(path), samples=40))
    node = next(iter(found["nodes"].values()))
    assert found["values"] == 40 * 8 * 8 * 8 == node["values"]
    assert 0 < found["differences"] < 0.01 * found["values"]
    assert node["largest"] == 1


def test_every_unsupported_operator_is_named(tmp_path):
    make = TfMaker(2)
    x = make.tensor([1, 4, 4, 2], 0.05, 0)
    a = make.tensor([1, 4, 4, 2], 0.05, 0, name="first/elu")
    make.op("ELU", [x], a)
    b = make.tensor([1, 4, 4, 2], None, type_="float32", name="second/exp")
    make.op("EXP", [a], b)
    c = make.tensor([1, 4, 4, 2], 0.05, 0, name="third/relu")
    make.op("ADD", [a, a], c, 2, options="AddOptions", fusedActivationFunction=5)
    path = tmp_path / "m.tflite"
    path.write_bytes(make.data(x, c))
    with pytest.raises(UnsupportedError) as caught:
        import_tflite(path)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    assert "first/elu (ELU): operator ELU; ADD, AVERAGE_POOL_2D" in text
    assert "second/exp (EXP): operator EXP" in text
    assert "third/relu (ADD): fused activation number 5" in text


def test_float_models_are_refused(tmp_path):
    make = TfMaker(2)
    x = make.tensor([1, 4], None, type_="float32", name="pixels")
    y = make.tensor([1, 4], None, type_="float32")
    make.op("ADD", [x, x], y, options="AddOptions")
    path = tmp_path / "m.tflite"
    path.write_bytes(make.data(x, y))
    with pytest.raises(UnsupportedError, match="pixels: float32 with 0 scales; int8 and"):
        import_tflite(path)


@pytest.mark.parametrize(("scale", "zero"), [(0.05, 1 << 40), (0.05, -129), (0.0, 3), (-1.0, 0)])
def test_impossible_grids_are_refused(scale, zero, tmp_path):
    make = TfMaker(2)
    x, y = make.tensor([1, 4], name="pixels"), make.tensor([1, 4], scale, zero, name="sums")
    make.op("ADD", [x, x], y, 2, options="AddOptions")
    path = tmp_path / "m.tflite"
    path.write_bytes(make.data(x, y))
    with pytest.raises(UnsupportedError, match=r"sums: scale .* and zero point"):
        import_tflite(path)


def test_an_unknown_rounding(tmp_path):
    with pytest.raises(UsageError, match="rounding: 'gemmlowp'; tflite and native"):
        import_tflite(tmp_path / "m.tflite", rounding="gemmlowp")
