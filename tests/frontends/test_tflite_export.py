# SPDX-License-Identifier: Apache-2.0
"""Written .tflite files in LiteRT's reference kernels: the same bytes, or counted differences."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from more_nets import MoreMaker, every_other_operator, tflite_operators
from nets import Maker, every_operator, graph, input_node
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
from adaqat.deploy.litert import compare_export
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.mul import Mul, product_range
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleBilinear, UpsampleNearest, denominators
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.requant import snap, snap_add
from adaqat.deploy.vectors import make_inputs

DATA = Path(os.environ.get("ADAQAT_DATA", "data")) / "mlperf_tiny"
S8, U8 = IntType(8, True), IntType(8, False)


def differences(net, samples: int = 12) -> dict:
    data, exported = tflite_bytes(net)
    assert set(exported.tensors) == {node.name for node in net.nodes}
    found = compare_export(net, data, exported, make_inputs(net, samples=samples))
    assert found["values"] == samples * sum(node.output.size for node in net.nodes)
    return found


def exact(net, samples: int = 12) -> None:
    found = differences(net, samples)
    assert found["differences"] == 0, {n: v for n, v in found["nodes"].items() if v["differences"]}


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


WEIGHTED = ("conv", "grouped", "depthwise", "transposed", "dilated", "linear")


def weighted_net(kind: str, bits: int, act: IntType, seed: int = 3):
    zero = 1 if act.signed and act.bits > 2 else 0
    make = MoreMaker(seed, bits, zero=zero)
    x = input_node((40,) if kind == "linear" else (7, 6, 4), act, zero)
    match kind:
        case "conv":
            node = make.conv("layer", x, 6, act)
        case "grouped":
            node = make.conv("layer", x, 6, act, kernel=(3, 2), stride=(2, 1), dilation=(1, 2),
                             pad=(1, 0, 2, 1), groups=2)  # fmt: skip
        case "depthwise":
            node = make.depthwise("layer", x, act, stride=(2, 1), pad=(0, 1, 1, 1), multiplier=2)
        case "transposed":
            node = make.conv_transpose("layer", x, 6, act, groups=2)
        case "dilated":
            node = make.conv_transpose("layer", x, 4, act, kernel=(2, 3), gap=(1, 1),
                                       pad=(0, 1, 1, 2), dilation=(1, 2))  # fmt: skip
        case _:
            node = make.linear("layer", x, 9, act)
    return graph(x, node)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("kind", WEIGHTED)
def test_layers_of_every_width(kind, bits, capsys):
    """A third of these channels has most results exactly between two codes."""
    for act in (S8, U8, IntType(4, False), IntType(3, True), IntType(1, False)):
        for seed in (1, 3):
            net = weighted_net(kind, bits, act, seed)
            if bits == 8 and net.nodes[1].op.weights.step == 2:
                with pytest.raises(UnsupportedError, match=r"weights from -2\d\d to"):
                    tflite_bytes(net)
                continue
            found = differences(net)
            node = found["nodes"]["layer"]
            assert node["largest"] <= 1
            assert node["differences"] <= 0.04 * node["values"]
            if kind == "linear":
                assert node["differences"] == 0
            with capsys.disabled():
                if node["differences"] and seed == 3 and "PYTEST_SHOW" in os.environ:
                    print(f"\n{kind} {bits} bits, {act}: {node}")


@pytest.mark.parametrize("act", [S8, U8, IntType(5, True), IntType(2, False)], ids=str)
def test_what_is_exact(act):
    """Everything that moves codes, tables, changes of grid; windows that leave out nothing."""
    make = MoreMaker(5, 8, zero=1 if act.signed else 0)
    zero = 1 if act.signed else 0
    x = input_node((6, 5, 4), act, zero)
    rule = make.requantize("regrid", x, act)
    wave = make.lookup("wave", rule, act, rows=4)
    one = make.lookup("one", wave, act)
    most = Node.make("most", MaxPool2d(Window((3, 2), (2, 1), (1, 1), (1, 0, 1, 1))), (one,))
    same = Node.make("same", MaxPool2d(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))), (most,))
    border = Node.make("border", Pad((1, 0, 0), (0, 2, 1), act.hi), (same,))
    edge = Node.make("edge", Pad((0, 1, 0), (0, 0, 0), border.output.zero), (border,))
    both = Node.make("both", Concat(), (edge, edge))
    rows, columns, channels = both.output.shape
    part = Node.make("part", Slice((1, 1, 0), (2, columns // 2, channels - 1), (1, 2, 1)), (both,))
    plain = Node.make("plain", Slice((0, 1, 0), (2, 2, channels - 1), (1, 1, 1)), (part,))
    near = Node.make("near", UpsampleNearest((4, 6)), (plain,))
    turned = Node.make("turned", Transpose((2, 0, 1)), (near,))
    flat = Node.make("flat", Reshape((turned.output.size // 4, 4)), (turned,))
    last = Node.make("last", ArgMax(), (flat,), scale=1.0, zero=0)
    assert rows > 2
    exact(graph(x, rule, wave, one, most, same, border, edge, both, part, plain, near, turned, flat,
                last))  # fmt: skip


def joined(act: IntType, *, sign: int = 1):
    """A sum, a product and a bilinear upsampling whose scales are those of the tensors."""
    make = Maker(2, 8)
    zero = 3 if act.signed else 0
    x = input_node((4, 5, 6), act, zero)
    y = make.conv("y", x, 6, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    y = replace(y, output=replace(y.output, scale=0.08))
    infos, grids = [x.output, y.output], [(i.type.lo, i.type.hi) for i in (x.output, y.output)]
    rule = snap_add([0.05 / 0.1, sign * 0.08 / 0.1], grids, input_zeros=[i.zero for i in infos],
                    zero=zero, lo=act.lo, hi=act.hi)  # fmt: skip
    total = Node.make("total", Add(rule, act), (x, y), scale=0.1, zero=zero)
    ends = product_range(infos, (infos[0].zero, infos[1].zero))
    factor = snap(np.array([0.05 * 0.08 / 0.03]), np.zeros(1), np.array([ends[0]]),
                  np.array([ends[1]]), zero=zero, lo=act.lo, hi=act.hi)  # fmt: skip
    product = Node.make("product", Mul((infos[0].zero, infos[1].zero), factor, act), (x, y),
                        scale=0.03, zero=zero)  # fmt: skip
    size, out = (8, 10), []
    for name, grid in (("fine", 0.1), ("finer", 0.09)):
        count = denominators(total.output.shape, size, False)
        edges = (np.array([count * act.lo]), np.array([count * act.hi]))
        gain = 0.1 / grid / count
        soft = snap(np.array([gain]), np.array([-gain * count * zero]), *edges, zero=zero,
                    lo=act.lo, hi=act.hi)  # fmt: skip
        out.append(Node.make(name, UpsampleBilinear(size, 0, soft, act), (total,), scale=grid,
                             zero=zero))  # fmt: skip
    return graph(x, y, total, product, *out)


@pytest.mark.parametrize("sign", [1, -1], ids=["sum", "difference"])
@pytest.mark.parametrize("act", [S8, U8], ids=str)
def test_joins(act, sign):
    nodes = differences(joined(act, sign=sign), 24)["nodes"]
    for name, part in (("total", 0.05), ("product", 0.03), ("fine", 0.2), ("finer", 0.25)):
        assert nodes[name]["largest"] <= 2
        assert nodes[name]["differences"] <= part * nodes[name]["values"], name


def test_softmax():
    x = input_node((5, 12), S8, 2)
    net = graph(x, Node.make("soft", Softmax.of(x.output), (x,), scale=1 / 256, zero=0))
    node = differences(net, 60)["nodes"]["soft"]
    assert node["largest"] <= 1 and node["differences"] < 0.02 * node["values"]


def test_averages():
    for act in (S8, U8, IntType(4, False)):
        make = Maker(6, 8)
        x = input_node((7, 6, 4), act)
        for window in ({"kernel": (2, 2), "stride": (1, 1), "pad": (0, 0, 0, 1)},
                       {"kernel": (7, 6)}, {"kernel": (3, 3)}):  # fmt: skip
            node = differences(graph(x, make.avgpool("mean", x, act, **window)))["nodes"]["mean"]
            assert node["largest"] <= 1 and node["differences"] <= 0.005 * node["values"]


def test_constant_channels_and_a_negated_lowest_weight():
    act = IntType(8, True)
    x = input_node((5, 5, 2), act)
    make = Maker(1, 8)
    make.count = 1
    weights = make.weights((3, 3, 3, 2))
    codes = weights.codes.copy()
    codes[1, 0, 0, 0] = 0
    weights = Weights(codes, 8, 1, -128)
    rule = make.requant(weights.values, act, act, 0)
    rule = replace(rule, m=np.abs(rule.m) * [0, -1, 1], z=np.array([77, 0, 0]))
    op = Conv2d(weights, rule, act, Window((3, 3)), 1, 0)
    net = graph(x, Node.make("layer", op, (x,), scale=0.1, zero=0))
    node = differences(net)["nodes"]["layer"]
    assert node["largest"] <= 1 and 0 < node["differences"] < 0.2 * node["values"]


def test_every_unsupported_node_is_named():
    net = every_other_operator(8, 8, signed=True)
    with pytest.raises(UnsupportedError) as caught:
        tflite_bytes(net)
    text = "\n".join(caught.value.problems)
    assert "excited: the scales of the tensors say" in text and "they must agree" in text
    assert "fine: the scales of the tensors say" in text and "weights from -255" in text
    with pytest.raises(UnsupportedError) as caught:
        tflite_bytes(tflite_operators())
    text = "\n".join(caught.value.problems)
    assert "b: single rounding and zero point -3; double rounding" in text
    assert "pool: an average that leaves out padding (0, 0, 1, 1); SAME and VALID" in text
    assert "total: the scales of the tensors say" in text and len(caught.value.problems) >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("odd", "no float32 scale of the weights gives"),
        ("zero", "positive float32 scales and zero points within the type"),
        ("wide", "u9 codes; up to 8 bits"),
        ("three", "a sum of 3 tensors; two are supported"),
        ("constant", "a sum with a constant, or of two negated tensors"),
        ("near", "from 5 to 7 positions, where LiteRT picks others|from 3 to"),
        ("softmax", "a softmax of u4 results or of a table of its own"),
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
            nodes.append(replace(make.conv("layer", x, 4, S8), output=replace(
                make.conv("layer", x, 4, S8).output, scale=0.0)))  # fmt: skip
        case "wide":
            wide = input_node((3, 3, 2), IntType(9, False))
            nodes = [wide, Node.make("m", MaxPool2d(Window((2, 2))), (wide,))]
        case "three":
            nodes.append(make.add("total", [x, x, x], S8))
        case "constant":
            rule = snap_add([0.5, 0.5], [(-128, 127)] * 2, input_zeros=[2, 2], zero=0, lo=-128,
                            hi=127, offset=9.0)  # fmt: skip
            nodes.append(Node.make("total", Add(rule, S8), (x, x), scale=0.1, zero=0))
        case "near":
            sizes = [s for s in range(6, 200) if odd_positions(5, s)]
            nodes.append(Node.make("near", UpsampleNearest((4, sizes[0])), (x,)))
            message = rf"from 5 to {sizes[0]} positions, where LiteRT picks others"
        case "softmax":
            nodes.append(Node.make("soft", Softmax.of(x.output, 4), (x,), scale=1 / 16, zero=0))
        case _:
            best = Node.make("best", ArgMax(), (x,), scale=1.0, zero=0)
            nodes += [best, Node.make("flat", Reshape((20,)), (best,))]
    with pytest.raises(UnsupportedError, match=message):
        tflite_bytes(graph(*nodes))


def odd_positions(size: int, out: int) -> bool:
    ratio = np.float32(size) / np.float32(out)
    found = np.floor(np.arange(out, dtype=np.float32) * ratio)
    return not np.array_equal(found, np.arange(out) * size // out)


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
