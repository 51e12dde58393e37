# SPDX-License-Identifier: Apache-2.0
"""Exported graphs in qonnx's executor: every node's integers, and the file read again."""

from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker, tflite_operators
from nets import Maker, every_operator, graph, input_node, narrow_images
from onnx_check import CORE, differences, returns
from onnx_models import onnx
from random_graphs import random_graph

from adaqat.deploy import (
    IntType,
    Node,
    UnsupportedError,
    UsageError,
    export_onnx,
    import_onnx,
    simulate,
)  # fmt: skip
from adaqat.deploy.frontends.onnx_writers import WRITERS, _masks
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.ops.weighted import FLOAT32_EXACT
from adaqat.deploy.vectors import make_inputs


def widths(net) -> list[int]:
    return [node.op.weight_bits for node in net.nodes if node.op.weight_bits]


def exact(net, folder, samples: int = 5) -> None:
    """All nodes in the executor, then the round trip."""
    codes = make_inputs(net, samples=samples)
    count, wrong = differences(net, codes, folder / "m.onnx")
    assert count > 0 and wrong == 0
    again = returns(net, codes, folder / "m.onnx")
    assert widths(again) == widths(net)
    assert again.output_node.output == net.output_node.output
    assert again.input_node.output == net.input_node.output


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])
def test_every_width(bits, extreme, tmp_path):
    signed = bits % 2 == 0
    exact(every_operator(bits, bits, signed=signed, extreme=extreme), tmp_path)


def test_borders(tmp_path):
    exact(narrow_images(8, 8, signed=True), tmp_path)


def test_the_other_operators(tmp_path):
    make = MoreMaker(1, 5, zero=2)
    s6, u5 = IntType(6, True), IntType(5, False)
    x = input_node((4, 5, 6), s6, 2)
    up = make.conv_transpose("up", x, 4, u5, kernel=(3, 2), gap=(2, 3), pad=(2, 1, 1, 0))
    table = make.lookup("table", up, s6, rows=4)
    one = make.lookup("one", table, s6)
    padded = Node.make("padded", Pad((1, 0, 0), (0, 2, 1), 3), (one,))
    cut = Node.make("cut", Slice((1, 0, 0), (4, 5, 4), (1, 2, 1)), (padded,))
    product = make.mul("product", cut, cut, s6)
    mixed = Node.make("mixed", Reshape((20, 2, 2)), (product,))
    turned = Node.make("turned", Transpose((0, 2, 1)), (mixed,))
    image = Node.make("image", Reshape((4, 5, 4)), (turned,))
    larger = Node.make("larger", UpsampleNearest((8, 15)), (image,))
    mean = make.avgpool("mean", larger, u5, kernel=(8, 15))
    flat = Node.make("flat", Reshape((4,)), (mean,))
    last = make.linear("last", flat, 3, s6)
    net = graph(x, up, table, one, padded, cut, product, mixed, turned, image, larger, mean, flat,
                last)  # fmt: skip
    exact(net, tmp_path)


@pytest.mark.parametrize("corners", [0, 1])
def test_softmax_and_bilinear(corners, tmp_path):
    """Operators that are written, but not recognised when read again."""
    make = MoreMaker(2, 8)
    u8, s8 = IntType(8, False), IntType(8, True)
    x = input_node((3, 4, 5), u8)
    big = make.bilinear("big", x, s8, (7, 6), corners)
    soft = Node.make("soft", Softmax.of(big.output), (big,), scale=1 / 256, zero=0)
    net = graph(x, big, soft)
    count, wrong = differences(net, make_inputs(net, samples=6), tmp_path / "m.onnx")
    assert count > 0 and wrong == 0
    export_onnx(net, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="MatMul"):
        import_onnx(tmp_path / "m.onnx")


def test_sums_beyond_float32_come_in_parts(tmp_path):
    make = Maker(3, 8, extreme=True)
    u8 = IntType(8, False)
    x = input_node((3, 3, 128), u8)
    conv = make.conv("conv", x, 2, u8)
    flat = Node.make("flat", Reshape((18,)), (conv,))
    net = graph(x, conv, flat, make.linear("last", flat, 3, u8))
    values = conv.op.weights.values.transpose(0, 3, 1, 2)
    masks = _masks(values, 255)
    assert len(masks) > 1 and np.array_equal(sum(masks), np.ones(1152))
    sums = np.abs(values.reshape(2, -1)) * 255
    assert max(int((sums * mask).sum(axis=1).max()) for mask in masks) < FLOAT32_EXACT
    assert int(sums.sum(axis=1).max()) >= FLOAT32_EXACT  # in one part float32 would round
    exact(net, tmp_path, 3)


def test_a_linear_layer_beyond_float32(tmp_path):
    make = Maker(4, 8, extreme=True)
    x = input_node((1200,), IntType(8, False))
    net = graph(x, make.linear("last", x, 3, IntType(8, True)))
    assert int(np.abs(net.output_node.op.weights.values).sum(axis=1).max()) * 255 >= FLOAT32_EXACT
    exact(net, tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs(seed, tmp_path):
    found = 0
    for offset in range(0, 4000, 100):  # the first one that has an ONNX form throughout
        net = random_graph(seed + offset, steps=6)
        codes = make_inputs(net, samples=4)
        try:
            count, wrong = differences(net, codes, tmp_path / "m.onnx")
        except UnsupportedError:
            continue
        found += 1
        assert count > 0 and wrong == 0
        if not {node.op.kind for node in net.nodes} & {"softmax", "upsample_bilinear"}:
            returns(net, codes, tmp_path / "m.onnx")
        break
    assert found


def test_a_changed_constant_is_noticed(tiny_graph, tmp_path):
    """Negative control: one weight, one bias, and the comparison must fail."""
    codes = make_inputs(tiny_graph, samples=6)
    path = tmp_path / "m.onnx"
    for name in ("conv/raw", "again/bias"):
        export_onnx(tiny_graph, path)
        model = onnx.load(str(path))
        tensor = next(t for t in model.graph.initializer if t.name == name)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] = values.flat[0] + 2000 if "bias" in name else -values.flat[0] - 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
        onnx.save(model, str(path))
        changed = simulate(import_onnx(path), codes)
        assert not np.array_equal(changed, simulate(tiny_graph, codes)), name


def test_the_file_is_a_checked_model(tiny_graph, tmp_path):
    export_onnx(tiny_graph, tmp_path / "m.onnx", batch=3)
    model = onnx.load(str(tmp_path / "m.onnx"))
    onnx.checker.check_model(model)
    props = {p.key: p.value for p in model.metadata_props}
    assert props["adaqat.input"] == "0.25 0" and props["adaqat.output"] == "0.1 0"
    widths_of = {}
    for node in CORE.ModelWrapper(model).graph.node:
        if node.op_type == "Quant":
            values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
            widths_of[node.output[0]] = int(values[node.input[3]])
    assert (widths_of["image"], widths_of["conv"], widths_of["fc"]) == (4, 3, 8)
    assert (widths_of["conv/weights"], widths_of["again/weights"]) == (3, 2)
    again = (tmp_path / "m.onnx").read_bytes()
    export_onnx(tiny_graph, tmp_path / "m.onnx", batch=3)
    assert (tmp_path / "m.onnx").read_bytes() == again


def test_what_has_no_onnx_form_is_named(tmp_path):
    net = tflite_operators()
    missing = [node.source for node in net.nodes if node.op.kind not in WRITERS]
    with pytest.raises(UnsupportedError) as error:
        export_onnx(net, tmp_path / "m.onnx")
    assert len(missing) > 1
    assert [p.split(":")[0] for p in error.value.problems[: len(missing)]] == missing
    assert "native rounding" in str(error.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", ["pool", "upsample", "folder"])
def test_limits(case, tmp_path, tiny_graph):
    make = Maker(1, 4)
    u8 = IntType(8, False)
    if case == "pool":
        x = input_node((200, 200, 1), u8)
        net, words = graph(x, make.avgpool("p", x, u8, kernel=(200, 200))), "2^22"
    elif case == "upsample":
        x = input_node((3, 3, 1), u8)
        net = graph(x, Node.make("p", UpsampleNearest((4, 6)), (x,)))
        words = "whole factors"
    else:
        with pytest.raises(UsageError, match="cannot be written"):
            export_onnx(tiny_graph, tmp_path / "none" / "m.onnx")
        return
    with pytest.raises(UnsupportedError, match=words.replace("^", r"\^")):
        export_onnx(net, tmp_path / "m.onnx")
