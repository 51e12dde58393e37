# SPDX-License-Identifier: Apache-2.0
"""Written .tflite files in LiteRT's reference kernels: the same bytes, or counted differences."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from more_nets import MoreMaker, every_other_operator, tflite_operators
from nets import every_operator, graph, input_node
from tflite_check import exact, joined
from tflite_models import TfMaker

from adaqat.deploy import (
    IntType,
    Node,
    UnsupportedError,
    UsageError,
    export_tflite,
    import_tflite,
    save,
)  # fmt: skip
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.frontends.tflite_export import tflite_bytes
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.mul import Mul
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.tflite_avgpool2d import TfliteAvgPool2d
from adaqat.deploy.ops.tflite_softmax import TfliteSoftmax
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.requant import snap, snap_add
from adaqat.deploy.tflite_softmax import exp_table

DATA = Path(os.environ.get("ADAQAT_DATA", "data")) / "mlperf_tiny"
S8, U8 = IntType(8, True), IntType(8, False)


def round_trip(data: bytes, folder: Path, samples: int = 12):
    """The graph of a file, written, has the same bytes in every tensor and is read as the same."""
    (folder / "a.tflite").write_bytes(data)
    first = read_tflite(folder / "a.tflite").graph
    exact(first, samples)
    export_tflite(first, folder / "b.tflite")
    again = read_tflite(folder / "b.tflite").graph
    assert again.model_id == first.model_id
    assert again.output_node.output == first.output_node.output
    return again


@pytest.mark.parametrize("name", ["ic_resnet8_int8", "kws_dscnn_int8"])
def test_reference_models_come_back(name, tmp_path):
    path = DATA / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set ADAQAT_DATA to the data folder")
    round_trip(path.read_bytes(), tmp_path)
    exact(import_tflite(path))  # without the constant channels


def test_a_generated_file_comes_back(tmp_path):
    """Layers with and without scales per channel, int4, fused limits, both sums, pools, mean."""
    make = TfMaker(4)
    x = make.tensor([1, 9, 8, 3], 0.02, -5)
    a = make.tensor([1, 5, 4, 6], 0.031, -128)
    make.op("CONV_2D", [x, make.weights([6, 3, 3, 3], 0), make.bias(6)], a, 3,
            options="Conv2DOptions", padding=0, strideH=2, strideW=2,
            fusedActivationFunction=3)  # fmt: skip
    b = make.tensor([1, 5, 4, 6], 0.043, 3)
    make.op("CONV_2D", [a, make.weights4([6, 1, 1, 6], 0), make.bias(6, 300)], b, 7,
            options="Conv2DOptions", strideH=1, strideW=1)  # fmt: skip
    c = make.tensor([1, 5, 4, 6], 0.05, 11)
    make.op("ADD", [a, b], c, 2, options="AddOptions", fusedActivationFunction=1)
    d = make.tensor([1, 5, 4, 6], 0.04, 4)
    make.op("SUB", [c, b], d, 2, options="SubOptions")
    e = make.tensor([1, 3, 2, 6], 0.04, 4)
    make.op("AVERAGE_POOL_2D", [d], e, 2, options="Pool2DOptions", padding=0, strideH=2, strideW=2,
            filterHeight=3, filterWidth=3)  # fmt: skip
    f = make.tensor([1, 3, 2, 6], 0.02, 9)
    make.op("DEPTHWISE_CONV_2D", [e, make.weights([1, 3, 3, 6], 3), make.bias(6)], f, 3,
            options="DepthwiseConv2DOptions", padding=0, strideH=1, strideW=1, depthMultiplier=1,
            fusedActivationFunction=2)  # fmt: skip
    g = make.tensor([1, 1, 1, 6], 0.015, 2)
    make.op("MEAN", [f, make.ints([1, 2])], g, 2, options="ReducerOptions", keepDims=True)
    h = make.tensor([1, 3, 2, 6], 0.01, -7)
    make.op("MUL", [f, g], h, 2, options="MulOptions")
    i = make.tensor([1, 3, 2, 6], 1 / 256, -128)
    make.op("LOGISTIC", [h], i)
    j = make.tensor([1, 36], 1 / 256, -128)
    make.op("RESHAPE", [i, make.ints([1, 36])], j, options="ReshapeOptions")
    w = make.weights([9, 36], 0, per_channel=False)
    k = make.tensor([1, 9], 0.02, 5)
    make.op("FULLY_CONNECTED", [j, w, make.bias(9, of=[j, w])], k, 4,
            options="FullyConnectedOptions", fusedActivationFunction=1)  # fmt: skip
    out = make.tensor([1, 9], 1 / 256, -128)
    make.op("SOFTMAX", [k], out, 2, options="SoftmaxOptions", beta=0.7)
    again = round_trip(make.data(x, out), tmp_path, 30)
    kinds = {node.op.kind for node in again.nodes}
    assert {"tflite_add", "tflite_mul", "tflite_avgpool2d", "tflite_softmax"} <= kinds
    assert 4 in {node.op.weight_bits for node in again.nodes}


@pytest.mark.parametrize("name", ["RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "TANH", "QUANTIZE"])
def test_functions_come_back_as_themselves(name, tmp_path):
    make = TfMaker(1)
    out = (1 / 128, 0) if name == "TANH" else (0.03, -20)
    x, y = make.tensor([1, 256], 0.04, 3), make.tensor([1, 256], *out)
    options = {"options": "LeakyReluOptions", "alpha": 0.15} if name == "LEAKY_RELU" else {}
    make.op(name, [x], y, 1 if name == "HARD_SWISH" else 2, **options)
    round_trip(make.data(x, y), tmp_path)


def test_every_unsupported_node_is_named():
    net = every_other_operator(8, 8, signed=True)
    with pytest.raises(UnsupportedError) as caught:
        tflite_bytes(net)
    text = "\n".join(caught.value.problems)
    assert "excited: the scales of the tensors say" in text and "they must agree" in text
    assert "odd: weights from -251 to 255; -128 to 127 are supported" in text
    with pytest.raises(UnsupportedError) as caught:
        tflite_bytes(tflite_operators(7))
    text = "\n".join(caught.value.problems)
    assert "b: single rounding and zero point -3; double rounding" in text
    assert "total: the scales of the tensors say" in text and len(caught.value.problems) >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("odd", "no float32 scale of the weights gives"),
        ("zero", "positive float32 scales and zero points within the type"),
        ("three", "a sum of 3 tensors; two are supported"),
        ("constant", "a sum with a constant, or of two negated tensors"),
        ("near", "from 2 to 82 positions, where LiteRT picks others"),
        ("softmax", "a softmax of u4 results or of a table of its own"),
        ("average", r"an average that leaves out padding \(1, 0, 0, 0\); SAME and VALID"),
        ("border", "a border of 5; the input's zero point 2 is supported"),
        ("beyond", r"padding \(2, 1, 2, 1\) beyond the kernel \(2, 2\) in front"),
        ("product", r"a product less \(0, 0\); the tensors' zero points are supported"),
        ("table", "a softmax whose table does not follow from the scale 0.05"),
        ("argmax", "argmax inside the network; as the output it is supported"),
    ],
)
def test_refusals(change, message):
    make = MoreMaker(2, 8)
    x = input_node((4, 5, 6), S8, 2)
    nodes = [x]
    match change:
        case "odd":
            layer = make.tflite_conv("layer", x, 4)
            rule = replace(layer.op.requant, m=layer.op.requant.m | 1)
            nodes.append(replace(layer, op=replace(layer.op, requant=rule)))
        case "zero":
            layer = make.conv("layer", x, 4, S8)
            nodes.append(replace(layer, output=replace(layer.output, scale=1e-50)))
        case "three":
            nodes.append(make.add("total", [x, x, x], S8))
        case "constant":
            rule = snap_add([0.5, 0.5], [(-128, 127)] * 2, input_zeros=[2, 2], zero=0, lo=-128,
                            hi=127, offset=9.0)  # fmt: skip
            nodes.append(Node.make("total", Add(rule, S8), (x, x), scale=0.1, zero=0))
        case "near":
            part = Node.make("part", Slice((0, 0, 0), (4, 2, 6), (1, 1, 1)), (x,))
            nodes += [part, Node.make("near", UpsampleNearest((4, 82)), (part,))]
        case "softmax":
            nodes.append(Node.make("soft", Softmax.of(x.output, 4), (x,), scale=1 / 16, zero=0))
        case "average":
            op = TfliteAvgPool2d(Window((3, 3), pad=(1, 0, 0, 0)), -128, 127)
            nodes.append(Node.make("mean", op, (x,)))
        case "border" | "beyond":
            pad = (2, 1, 2, 1) if change == "beyond" else (1, 1, 1, 1)
            layer = make.conv_transpose("layer", x, 4, S8, kernel=(2, 2), pad=pad)
            value = 5 if change == "border" else 2
            nodes.append(replace(layer, op=replace(layer.op, pad_value=value)))
        case "product":
            factor = snap(np.array([0.0125]), np.zeros(1), np.array([-(1 << 14)]),
                          np.array([1 << 14]), zero=0, lo=-128, hi=127)  # fmt: skip
            op = Mul((0, 0), factor, S8)
            nodes.append(Node.make("product", op, (x, x), scale=0.2, zero=0))
        case "table":
            op = TfliteSoftmax(exp_table(0.05, 0.123456789))
            op = replace(op, table=op.table - (np.arange(len(op.table)) == 3))
            nodes.append(Node.make("soft", op, (x,), scale=1 / 256, zero=-128))
        case _:
            best = Node.make("best", ArgMax(), (x,), scale=1.0, zero=0)
            nodes += [best, Node.make("flat", Reshape((20,)), (best,))]
    with pytest.raises(UnsupportedError, match=message):
        tflite_bytes(graph(*nodes))


def test_one_list_of_all_problems():
    net = every_operator(8, 8, signed=True)
    with pytest.raises(UnsupportedError) as caught:
        tflite_bytes(net)
    assert len(caught.value.problems) > 3


def test_a_path_that_cannot_be_written(tmp_path):
    x = input_node((4, 4, 2), S8)
    net = graph(x, Node.make("m", MaxPool2d(Window((2, 2))), (x,)))
    with pytest.raises(UsageError, match=r"none/net\.tflite: cannot be written"):
        export_tflite(net, tmp_path / "none" / "net.tflite")


def test_the_same_graph_gives_the_same_bytes():
    assert tflite_bytes(joined(S8))[0] == tflite_bytes(joined(S8))[0]


MAIN = ["-c", "import sys; from adaqat.deploy.cli import main; sys.argv[0] = 'adaqat'; main()"]


def test_the_command_line(run_python, tmp_path):
    save(joined(U8), tmp_path / "net.adaqat")
    done = run_python(*MAIN, "export", "net.adaqat", "-o", "net.tflite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote net.tflite" in done.stderr and "BUILTIN_REF: " in done.stderr
    assert "integers differ from the graph's" in done.stderr and "of 16 largest" in done.stderr
    save(every_operator(8, 8, signed=True), tmp_path / "bad.adaqat")
    done = run_python(*MAIN, "export", "bad.adaqat", "-o", "bad.tflite", cwd=tmp_path)
    assert done.returncode == 3 and not (tmp_path / "bad.tflite").exists()
    assert "problems in this model" in done.stderr and "Traceback" not in done.stderr
    for arguments, message in (
        (["-o", "net.txt"], ".onnx and .tflite files are written"),
        (["-o", "net.onnx", "--format", "tflite"], "name it for example net.tflite"),
        (["-o", "net.tflite", "--batch", "2"], "--batch 2: .tflite files are written with batch 1"),
    ):
        done = run_python(*MAIN, "export", "net.adaqat", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
