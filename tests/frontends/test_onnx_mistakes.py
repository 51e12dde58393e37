# SPDX-License-Identifier: Apache-2.0
"""What cannot be read from an ONNX file is named, all at once."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import QONNX, OnnxMaker, onnx, save

from adaqat.deploy import ModelFileError, UnsupportedError, UsageError, import_onnx
from adaqat.deploy.frontends import onnx_file


def conv(make: OnnxMaker, x: str, weights: str, **attrs) -> str:
    return make.quantize(make.node("Conv", [x, weights], name="layer", **attrs), 0.1)


def qdq(make: OnnxMaker) -> str:
    return make.qdq("x", 0.1)


def const_first(make, *, op, second):
    return make.quantize(make.node(op, [qdq(make), make.const(second)], name="layer"), 0.1)


def ints(make, *values):
    return make.const(values, "int64")


def weights(make, data, scale, zero, dtype="int8", **attrs):
    grid = [make.const(scale), make.const(zero, dtype)]
    return make.node("DequantizeLinear", [make.const(data, dtype), *grid], **attrs)


W = (4, 3, 3, 3)
CASES = {
    "real weights": (
        lambda m: conv(m, qdq(m), m.const(np.ones(W))),
        ("layer (Conv)", "real numbers", "(4, 3, 3, 3)", "DequantizeLinear"),
    ),
    "real input": (lambda m: conv(m, "x", m.weights(W)), ("the real input", "quantiser")),
    "computed weights": (
        lambda m: conv(m, qdq(m), m.node("Reshape", [qdq(m), ints(m, 1, 3, 6, 6)])),
        ("weights computed by the network", "constant"),
    ),
    "scales along inputs": (
        lambda m: conv(m, qdq(m), m.weights(W, axis=1)), ("weight scales", "per output channel")
    ),
    "span of weights": (
        lambda m: conv(m, qdq(m), weights(m, np.stack([np.zeros(W[1:]), np.full(W[1:], 255)] * 2),
                                          [0.1] * 4, [255, 0, 255, 0], "uint8", axis=0)),
        ("weights from -255 to 255", "8 bits"),
    ),
    "no quantiser between": (
        lambda m: conv(m, m.node("Conv", [qdq(m), m.weights((3, 3, 1, 1))]), m.weights(W)),
        ("layer (Conv)", "result of Conv arrives here without a quantiser"),
    ),
    "function behind a layer": (
        lambda m: m.quantize(m.node("Sigmoid", [m.node("Conv", [qdq(m), m.weights(W)])],
                                    name="layer"), 0.1),
        ("layer (Sigmoid)", "without a quantiser"),
    ),
    "groups": (lambda m: conv(m, qdq(m), m.weights(W), group=2), ("3 channels in 2 groups",)),
    "auto_pad": (lambda m: conv(m, qdq(m), m.weights(W), auto_pad="OTHER"), ("auto_pad OTHER",)),
    "kernel too large": (
        lambda m: conv(m, qdq(m), m.weights((4, 3, 7, 7))), ("smaller than the window",)
    ),
    "average without padding": (
        lambda m: m.quantize(m.node("AveragePool", [qdq(m)], kernel_shape=[2, 2],
                                    pads=[1, 1, 0, 0], name="layer"), 0.1),
        ("count_include_pad",),
    ),
    "dilated pool": (
        lambda m: m.quantize(m.node("MaxPool", [qdq(m)], kernel_shape=[2, 2], dilations=[2, 2]),
                             0.1),
        ("dilations [2, 2]",),
    ),
    "constant shape": (
        lambda m: const_first(m, op="Mul", second=np.arange(5.0)), ("(1, 5)", "equal sizes, or 1")
    ),
    "unequal sum": (
        lambda m: m.quantize(m.node("Add", [qdq(m), m.qdq(m.node(
            "MaxPool", [qdq(m)], kernel_shape=[2, 2]), 0.1)], name="layer"), 0.1),
        ("layer (Add)", "equal sizes, or 1, are supported"),
    ),
    "division": (
        lambda m: m.quantize(m.node("Div", [qdq(m), qdq(m)], name="layer"), 0.1),
        ("a division by a computed tensor",),
    ),
    "wide activations": (
        lambda m: m.quantize("x", 0.1, 0, "int16"), ("int16 codes", "8 bits")
    ),
    "wide QONNX activations": (lambda m: m.quant("x", 12, scale=0.1), ("12-bit activations",)),
    "scale per channel": (
        lambda m: m.node("QuantizeLinear", [qdq(m), m.const([0.1, 0.2, 0.3]),
                                            m.const([0, 0, 0], "int8")], axis=1, name="layer"),
        ("layer (QuantizeLinear)", "a scale with 3 values"),
    ),
    "computed scale": (
        lambda m: m.node("QuantizeLinear", [qdq(m), m.node("Shape", [qdq(m)]),
                                            m.const(0, "int8")]),
        ("a scale with 4 values",),
    ),
    "zero scale": (lambda m: m.quantize(qdq(m), 0.0), ("scale 0.0", "positive")),
    "rounding mode": (
        lambda m: m.quant(m.node("Conv", [m.quant("x", 8, scale=0.1), m.weights(W)]), 8,
                          mode="CEIL"),
        ("rounding mode CEIL",),
    ),
    "huge width": (lambda m: m.quant("x", 1 << 40), ("bit-width 1099511627776", "1 to 32")),
    "huge border": (
        lambda m: m.node("Pad", [qdq(m), ints(m, 0, 0, 1 << 40, 0, 0, 0, 0, 0)]),
        ("a result of shape", "values are supported"),
    ),
    "half zero point": (lambda m: m.quant("x", 4, zero=0.5), ("zero point 0.5",)),
    "bipolar padding": (
        lambda m: conv(m, m.node("BipolarQuant", [qdq(m), m.const(1.0)], domain=QONNX),
                       m.weights(W), pads=[1, 1, 1, 1]),
        ("padding with 0", "bipolar"),
    ),
    "batch reshape": (
        lambda m: m.node("Reshape", [qdq(m), ints(m, 3, 36)], name="layer"), ("batch of 1",)
    ),
    "batch transpose": (
        lambda m: m.node("Transpose", [qdq(m)], perm=[1, 0, 2, 3]), ("perm [1, 0, 2, 3]",)
    ),
    "concat axis": (
        lambda m: m.node("Concat", [qdq(m), qdq(m)], axis=2), ("axis 2", "axis 1")
    ),
    "border beside the grid": (
        lambda m: m.node("Pad", [qdq(m), ints(m, 0, 0, 1, 0, 0, 0, 0, 0), m.const(0.033)]),
        ("border of 0.033",),
    ),
    "mode of padding": (
        lambda m: m.node("Pad", [qdq(m), ints(m, 0, 0, 1, 0, 0, 0, 0, 0)], mode="reflect"),
        ("mode reflect",),
    ),
    "cubic resize": (
        lambda m: m.node("Resize", [qdq(m), "", m.const([1, 1, 2, 2])], mode="cubic"),
        ("mode cubic", "nearest and linear"),
    ),
    "two matrices": (
        lambda m: m.node("MatMul", [qdq(m), qdq(m)]), ("two computed matrices", "attention")
    ),
    "not flat": (
        lambda m: m.quantize(m.node("Gemm", [qdq(m), m.weights((108, 5))]), 0.1),
        ("flatten before it",),
    ),
    "Floor": (
        lambda m: m.node("Floor", [m.node("Conv", [qdq(m), m.weights(W)])]), ("Floor of real",)
    ),
    "real output": (
        lambda m: m.node("Conv", [qdq(m), m.weights(W)]), ("output", "output_scale")
    ),
    "function output": (lambda m: m.node("Sigmoid", [qdq(m)]), ("output", "function of codes")),
    "unknown tensor": (
        lambda m: m.node("Relu", ["nothing"], name="layer"), ("'nothing'", "sorted")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_found_is_named(name, tmp_path):
    build, words = CASES[name]
    make = OnnxMaker()
    model = make.model(build(make), [1, 3, 6, 6])
    with pytest.raises(UnsupportedError) as error:
        import_onnx(save(model, tmp_path))
    for word in words:
        assert word in str(error.value), str(error.value)


def test_all_problems_at_once(tmp_path):
    make = OnnxMaker()
    x = make.node("LSTM", [qdq(make)], name="memory")
    x = make.node("Mystery", [x], domain="org.example", name="riddle")
    x = make.quantize(make.node("Conv", [make.qdq(x, 0.1), make.const(np.ones(W))], name="bare"),
                      0.1)
    make.node("LayerNormalization", [x], name="norm")
    model = make.model(x, [1, 3, 6, 6])
    with pytest.raises(UnsupportedError) as error:
        import_onnx(save(model, tmp_path))
    problems = error.value.problems
    assert [p.split(" ")[0] for p in problems] == ["memory", "riddle", "bare", "norm"]
    assert "TCN" in problems[0] and "QLinearConv" in problems[0]
    assert "org.example" in problems[1] and "BatchNormalization" in problems[3]


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ([1, 3, "height", 6], "float32", ("input x", "height", "static sizes")),
        ([1, 3, None, 6], "float32", ("1x3x?x6", "not known")),
        ([4, 3, 6, 6], "float32", ("4x3x6x6", "batch of 1")),
        ([6], "float32", ("batch of 1",)),
        ([1, 3, 4, 6, 6], "float32", ("1x3x4x6x6", "images")),
        ([1, 3, 6, 6], "int32", ("type int32", "int8")),
    ],
)
def test_inputs(shape, dtype, words, tmp_path):
    make = OnnxMaker()
    model = make.model(make.quantize(qdq(make), 0.1), shape, dtype=dtype)
    with pytest.raises(UnsupportedError) as error:
        import_onnx(save(model, tmp_path))
    for word in words:
        assert word in str(error.value)


def test_several_inputs_and_outputs(tmp_path):
    make = OnnxMaker()
    model = make.model(make.node("GRU", [qdq(make)]), [1, 3])
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, [1, 2]))
    with pytest.raises(UnsupportedError, match="2 inputs") as error:
        import_onnx(save(model, tmp_path))
    assert "GRU" in str(error.value)


def test_files(tmp_path):
    whole = save(OnnxMaker().model("x", [1, 3]), tmp_path)
    make = OnnxMaker()
    whole = save(make.model(make.quantize(qdq(make), 0.1), [1, 3]), tmp_path).read_bytes()
    broken = {
        "missing": None, "empty": b"", "foreign": b"PK\x03\x04" + bytes(200), "text": b"hello",
        "truncated": whole[: len(whole) // 2],
    }  # fmt: skip
    for name, data in broken.items():
        path = tmp_path / f"{name}.onnx"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ModelFileError, match=name):
            import_onnx(path)
    # any other damage must not end in a traceback either
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(0, 256)
        (tmp_path / "hurt.onnx").write_bytes(bytes(data))
        try:
            import_onnx(tmp_path / "hurt.onnx")
        except (ModelFileError, UnsupportedError, UsageError):
            pass


def test_without_the_package(tmp_path, monkeypatch):
    from adaqat.deploy import ToolError, extras

    def missing(name: str):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(ToolError, match=r"adaqat-deploy\[onnx\]"):
        onnx_file.read_model(tmp_path / "m.onnx")
