# SPDX-License-Identifier: Apache-2.0
"""Imported resizes and transposed convolutions against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_check import equal
from tflite_models import TfMaker

from adaqat.deploy import UnsupportedError, export_tflite, import_tflite, simulate
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.litert import compare_roundings, compare_with_litert
from adaqat.deploy.vectors import make_inputs

SAME, VALID = 0, 1


def transposed(kernel, stride, padding, *, act=0, seed=1, grow=0, per_channel=True) -> bytes:
    make = TfMaker(seed)
    x = make.tensor([1, 5, 4, 3], 0.02, -5)
    w = make.weights([6, *kernel, 3], 0, per_channel=per_channel)
    out = [
        n * s if padding == SAME else (n - 1) * s + k
        for n, s, k in zip((5, 4), stride, kernel, strict=True)
    ]
    y = make.tensor([1, out[0] + grow, out[1], 6], 0.05, -20)
    size = make.ints([1, out[0] + grow, out[1], 6])
    make.op("TRANSPOSE_CONV", [size, w, x, make.bias(6)], y, 4 if act else 3,
            options="TransposeConvOptions", padding=padding, strideH=stride[0], strideW=stride[1],
            fusedActivationFunction=act)  # fmt: skip
    return make.data(x, y)


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((4, 3), (2, 1)), ((3, 5), (1, 3)), ((2, 1), (3, 2)),
     ((3, 3), (1, 1))],
)  # fmt: skip
def test_transposed_convolutions(kernel, stride, padding, tmp_path):
    if padding == SAME and (kernel[0] < stride[0] or kernel[1] < stride[1]):
        pytest.skip("LiteRT gives SAME no meaning for kernels smaller than the stride")
    equal(transposed(kernel, stride, padding), tmp_path)


@pytest.mark.parametrize("act", [1, 3])
def test_transposed_with_activation(act, tmp_path):
    equal(transposed((3, 3), (2, 2), SAME, act=act, per_channel=False), tmp_path)


def test_transposed_natively(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(transposed((3, 4), (2, 2), SAME))
    native = import_tflite(path, rounding="native")
    assert [node.op.kind for node in native.nodes] == ["input", "conv_transpose2d"]
    found = compare_roundings(path, make_inputs(native, samples=20))
    node = next(iter(found["nodes"].values()))
    assert node["values"] == 20 * 10 * 8 * 6
    assert node["largest"] <= 1 and node["differences"] < 0.02 * node["values"]
    export_tflite(native, tmp_path / "again.tflite")
    again = import_tflite(tmp_path / "again.tflite", rounding="native")
    assert {"conv_transpose2d"} < {node.op.kind for node in again.nodes}
    codes = make_inputs(native, samples=20)
    step = np.abs(simulate(native, codes).astype(int) - simulate(again, codes))
    assert step.max() <= 1 and (step > 0).mean() < 0.02


def resized(name: str, rows: int, columns: int, *, corners=False, half=False, shape=(5, 4)):
    make = TfMaker(1)
    x = make.tensor([1, *shape, 6], 0.05, 3)
    y = make.tensor([1, rows, columns, 6], 0.05, 3)
    kind = "".join(word.capitalize() for word in name.split("_"))
    make.op(name, [x, make.ints([rows, columns])], y, 3, options=f"{kind}Options",
            alignCorners=corners, halfPixelCenters=half)  # fmt: skip
    return make.data(x, y)


@pytest.mark.parametrize(
    ("rows", "columns", "half"), [(10, 12, False), (15, 8, True), (7, 5, False), (5, 4, True)]
)
def test_nearest(rows, columns, half, tmp_path):
    equal(resized("RESIZE_NEAREST_NEIGHBOR", rows, columns, half=half), tmp_path)


@pytest.mark.parametrize(
    ("rows", "columns", "options"),
    [(10, 8, {"half": True}), (20, 8, {"half": True}), (5, 32, {"half": True}),
     (9, 7, {"corners": True}), (17, 13, {"corners": True}), (3, 4, {"corners": True})],
)  # fmt: skip
def test_bilinear(rows, columns, options, tmp_path):
    equal(resized("RESIZE_BILINEAR", rows, columns, **options), tmp_path)


@pytest.mark.parametrize("options", [{"half": True}, {"corners": True}], ids=str)
def test_bilinear_natively(options, tmp_path):
    """Other sizes: LiteRT's positions have 10 fractional bits, ours are fractions."""
    path = tmp_path / "m.tflite"
    path.write_bytes(resized("RESIZE_BILINEAR", 12, 11, **options))
    found = read_tflite(path, rounding="native")
    entry = compare_with_litert(path, make_inputs(found.graph, samples=12), found)
    assert 0 < entry["mismatches"] < 0.15 * entry["values"]
    with pytest.raises(UnsupportedError, match="which LiteRT rounds to 1/1024; factors of 2, 4"):
        import_tflite(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (resized("RESIZE_BILINEAR", 10, 8), "align_corners False and half_pixel_centers False"),
        (resized("RESIZE_NEAREST_NEIGHBOR", 13, 8, corners=True), "from 5 to 13 positions with"),
        (resized("RESIZE_NEAREST_NEIGHBOR", 8, 8, half=True), "neighbours floor"),
        (transposed((3, 3), (2, 2), VALID, grow=1), "12 positions from 5; up to"),
    ],
)  # fmt: skip
def test_refusals(data, message, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    for rounding in ("tflite", "native"):
        with pytest.raises(UnsupportedError, match=message):
            import_tflite(path, rounding=rounding)
