# SPDX-License-Identifier: Apache-2.0
"""16-bit activations of .tflite models: LiteRT = simulator = host C, every value of each tensor."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_check import equal, exact
from tflite_models import TfMaker

from adaqat.deploy import UnsupportedError, import_tflite
from adaqat.deploy.emit import layout
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.litert import compare_roundings
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host

SAME, VALID = 0, 1
ALL = np.arange(-32768, 32768, dtype=np.int16).reshape(16, 4096)
STRIDES = {"strideH": 2, "strideW": 1}


def both_ways(data: bytes, folder, codes=None) -> None:
    """As `equal`; and written again, LiteRT computes the same integers in every tensor."""
    equal(data, folder, codes)
    exact(read_tflite(folder / "m.tflite").graph)


def bias(make: TfMaker, count: int, reach: int, type_: str = "int64") -> int:
    data = make.rng.integers(-reach, reach, count).astype(type_)
    return make.tensor([count], None, type_=type_, data=data)


def wide(make: TfMaker, shape: list[int], scale: float = 0.0004) -> int:
    return make.tensor(shape, scale, type_="int16")


BIASES = {"small": 40_000, "large": 1 << 36}


@pytest.mark.parametrize(("kind", "act"), [("small", 0), ("small", 3), ("large", 1)])
def test_conv(kind: str, act: int, tmp_path) -> None:
    make = TfMaker(act)
    x, y = wide(make, [1, 7, 6, 5]), wide(make, [1, 4, 6, 6], 0.0011)
    w = make.weights([6, 3, 3, 5], 0)
    make.op("CONV_2D", [x, w, bias(make, 6, BIASES[kind])], y, 4, options="Conv2DOptions",
            padding=SAME, **STRIDES, fusedActivationFunction=act)  # fmt: skip
    both_ways(make.data(x, y), tmp_path)


@pytest.mark.parametrize("kind", BIASES)
def test_depthwise(kind: str, tmp_path) -> None:
    make = TfMaker(3)
    x, y = wide(make, [1, 7, 6, 4]), wide(make, [1, 3, 5, 8], 0.0005)
    w = make.weights([1, 3, 2, 8], 3)
    make.op("DEPTHWISE_CONV_2D", [x, w, bias(make, 8, BIASES[kind])], y, 4,
            options="DepthwiseConv2DOptions", padding=VALID, **STRIDES, depthMultiplier=2,
            fusedActivationFunction=1)  # fmt: skip
    both_ways(make.data(x, y), tmp_path)


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize(
    ("columns", "reach", "scale"),
    [(48, 40_000, 0.004), (700, 40_000, 4e-4), (700, 1 << 33, 4e-5), (300, 1 << 40, 3e-9),
     (48, 0, 0.004)],
)  # fmt: skip
def test_linear(columns: int, reach: int, scale: float, channels: bool, tmp_path) -> None:
    """700 columns of extreme weights need sums of 64 bits; no reach is no bias."""
    make = TfMaker(4)
    x, y = wide(make, [1, columns]), wide(make, [1, 20], 0.0011)
    data = (make.rng.integers(0, 2, (20, columns)) * 254 - 127).astype(np.int8)
    scales = make.rng.uniform(scale / 2, scale, 20 if channels else 1)
    w = make.tensor([20, columns], scales, data=data)
    more = [bias(make, 20, reach)] if reach else []
    make.op("FULLY_CONNECTED", [x, w, *more], y, 12 if channels else 4,
            options="FullyConnectedOptions")  # fmt: skip
    both_ways(make.data(x, y), tmp_path)


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("scales", [(0.0004, 0.0007, 0.0009), (0.0009, 0.00002, 0.0003)])
def test_pairs(name: str, scales: tuple[float, ...], tmp_path) -> None:
    make = TfMaker(5)
    x = wide(make, [1, 6, 5, 8], scales[0])
    z = wide(make, [1, 6, 5, 8], scales[1])
    w, given = make.weights([8, 1, 1, 8], 0), bias(make, 8, 40_000)
    make.op("CONV_2D", [x, w, given], z, 4, options="Conv2DOptions", strideH=1, strideW=1)
    y = wide(make, [1, 6, 5, 8], scales[2] if name != "MUL" else scales[0] * scales[1] * 9000)
    kind = f"{name.title()}Options"
    more = {} if name == "MUL" else {"potScaleInt16": False}
    make.op(name, [x, z], y, 4 if name == "MUL" else 3, options=kind, **more,
            fusedActivationFunction=1)  # fmt: skip
    both_ways(make.data(x, y), tmp_path)


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("act", [0, 3])
def test_pools(name: str, act: int, tmp_path) -> None:
    make = TfMaker(6)
    x, y = wide(make, [1, 7, 6, 5]), wide(make, [1, 4, 6, 5])
    make.op(name, [x], y, 3, options="Pool2DOptions", padding=SAME, **STRIDES, filterHeight=3,
            filterWidth=2, fusedActivationFunction=act)  # fmt: skip
    both_ways(make.data(x, y), tmp_path)


@pytest.mark.parametrize(
    ("first", "last"),
    [(("int16", 0.0004, 0), ("int16", 0.0007, 0)), (("int16", 0.0004, 0), ("int8", 0.11, -7)),
     (("int8", 0.11, -7), ("int16", 0.0004, 0)), (("int16", 0.0004, 0), ("int16", 0.0001, 0))],
)  # fmt: skip
def test_quantize(first, last, tmp_path) -> None:
    make = TfMaker(7)
    codes = ALL if first[0] == "int16" else ALL[:1, :256].clip(-128, 127).astype(np.int8)
    shape = [1, codes.shape[1]]
    x = make.tensor(shape, first[1], first[2], type_=first[0])
    y = make.tensor(shape, last[1], last[2], type_=last[0])
    make.op("QUANTIZE", [x], y, 2, options="QuantizeOptions")
    both_ways(make.data(x, y), tmp_path, codes)


@pytest.mark.parametrize("name", ["RELU", "RELU6"])
def test_relu(name: str, tmp_path) -> None:
    make = TfMaker(8)
    x, y = wide(make, [1, 4, 32, 32]), wide(make, [1, 4, 32, 32], 0.0003)
    make.op(name, [x], y, 2)
    both_ways(make.data(x, y), tmp_path, ALL.reshape(16, 4, 32, 32))


def test_moves_and_a_float_input(tmp_path) -> None:
    make = TfMaker(9)
    x = make.tensor([1, 4, 6, 3], None, type_="float32")
    q = wide(make, [1, 4, 6, 3])
    make.op("QUANTIZE", [x], q, 2, options="QuantizeOptions")
    padded = wide(make, [1, 5, 8, 3])
    make.op("PAD", [q, make.ints([[0, 0], [1, 0], [0, 2], [0, 0]])], padded, 3,
            options="PadOptions")  # fmt: skip
    cut = wide(make, [1, 4, 4, 3])
    make.op("STRIDED_SLICE", [padded, make.ints([0, 1, 0, 0]), make.ints([1, 5, 8, 3]),
            make.ints([1, 1, 2, 1])], cut, 4, options="StridedSliceOptions")  # fmt: skip
    both = wide(make, [1, 4, 4, 6])
    make.op("CONCATENATION", [cut, cut], both, 3, options="ConcatenationOptions", axis=3)
    turned = wide(make, [1, 4, 6, 4])
    make.op("TRANSPOSE", [both, make.ints([0, 1, 3, 2])], turned, 5, options="TransposeOptions")
    mean = wide(make, [1, 4], 0.0003)
    make.op("MEAN", [turned, make.ints([1, 2])], mean, 2, options="ReducerOptions")
    z = make.tensor([1, 4], None, type_="float32")
    make.op("DEQUANTIZE", [mean], z, 2)
    both_ways(make.data(x, z), tmp_path)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda m, x, w, y: m.op("CONV_2D", [x, w, bias(m, 4, 9, "int32")], y, 4,
                                 options="Conv2DOptions", strideH=1, strideW=1),
         r"a int32 bias of shape \(4,\); int64"),
        (lambda m, x, w, y: m.op("CONV_2D", [x, w], y, 4, options="Conv2DOptions", strideH=1,
                                 strideW=1), "without a bias; LiteRT needs one"),
        (lambda m, x, w, y: m.op("CONV_2D", [x, m.tensor([4, 1, 1, 4], 1e-10, data=np.ones(
            (4, 1, 1, 4), np.int8)), bias(m, 4, 9)], y, 4, options="Conv2DOptions", strideH=1,
            strideW=1), "a factor below 2"),
        (lambda m, x, w, y: m.op("ADD", [x, x], y, 3, options="AddOptions", potScaleInt16=True),
         "pot_scale_int16"),
        (lambda m, x, w, y: m.op("HARD_SWISH", [x], y, 1), "s16 input and s16 output; int8"),
        (lambda m, x, w, y: m.op("SOFTMAX", [x], y, 1, options="SoftmaxOptions", beta=1.0),
         "output scale 0.000244"),
    ],
)  # fmt: skip
def test_refusals(layer, message, tmp_path) -> None:
    make = TfMaker(10)
    x, y = (wide(make, [1, 3, 3, 4], 2.0**-12) for _ in range(2))
    layer(make, x, make.weights([4, 1, 1, 4], 0), y)
    (tmp_path / "m.tflite").write_bytes(make.data(x, y))
    with pytest.raises(UnsupportedError, match=message):
        import_tflite(tmp_path / "m.tflite")


def test_native_rounding_proves_int32_or_refuses(tmp_path) -> None:
    for columns in (60, 700):
        make = TfMaker(11)
        x, y = wide(make, [1, columns]), wide(make, [1, 4], 0.0011)
        w = make.tensor([4, columns], 4e-4, data=np.full((4, columns), 127, np.int8))
        make.op("FULLY_CONNECTED", [x, w, bias(make, 4, 9)], y, 4, options="FullyConnectedOptions")
        path = tmp_path / "m.tflite"
        path.write_bytes(make.data(x, y))
        if columns == 60:
            graph = import_tflite(path, rounding="native")
            codes = make_inputs(graph, samples=20)
            assert compare_host(layout(graph, get("cortex-m4"), "net"), codes).mismatches == 0
            assert compare_roundings(path, codes)["differences"] < 40
        else:
            with pytest.raises(UnsupportedError, match=r"accumulator can reach .*; int32 holds"):
                import_tflite(path, rounding="native")
