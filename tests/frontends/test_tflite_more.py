# SPDX-License-Identifier: Apache-2.0
"""Functions and moves of imported .tflite models against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_check import equal
from tflite_models import TfMaker

from adaqat.deploy import UnsupportedError, import_tflite

ALL = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)
GRIDS = [(0.04, 3, 1 / 256, -128), (0.11, -20, 0.05, 10), (0.011, 0, 0.02, -5)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    "name", ["LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH"]
)
def test_functions_on_every_code(name, grid, tmp_path):
    make = TfMaker(1)
    out = grid[2:]
    if name in ("LOGISTIC", "TANH"):  # LiteRT accepts one grid of the result
        out = (1 / 256, -128) if name == "LOGISTIC" else (1 / 128, 0)
    x, y = make.tensor([1, 256], *grid[:2]), make.tensor([1, 256], *out)
    options = {"options": "LeakyReluOptions", "alpha": 0.17} if name == "LEAKY_RELU" else {}
    make.op(name, [x], y, 1 if name in ("RELU_N1_TO_1", "HARD_SWISH") else 2, **options)
    equal(make.data(x, y), tmp_path, ALL, host=grid is GRIDS[0])


@pytest.mark.parametrize("count", [1, 6])
def test_prelu(count, tmp_path):
    make = TfMaker(1)
    x, y = make.tensor([1, 4, 5, 6], 0.05, 3), make.tensor([1, 4, 5, 6], 0.06, -3)
    slopes = make.tensor([1, 1, count], 0.01, 2, data=make.rng.integers(-128, 128, count, np.int8))
    make.op("PRELU", [x, slopes], y)
    equal(make.data(x, y), tmp_path)


def test_moves(tmp_path):
    make = TfMaker(1)

    def tensor(*shape: int) -> int:
        return make.tensor([1, *shape], 0.05, 3)

    x = tensor(5, 6, 4)
    a, b, c, d = tensor(8, 6, 4), tensor(6, 8, 4), tensor(3, 4, 4), tensor(3, 4, 2)
    e, f, g, h, i = tensor(3, 4, 2), tensor(6, 4, 2), tensor(2, 4, 2), tensor(1, 1, 2), tensor(2)
    make.op("PAD", [x, make.ints([[0, 0], [1, 2], [0, 0], [0, 0]])], a, options="PadOptions")
    make.op("TRANSPOSE", [a, make.ints([0, 2, 1, 3])], b, 2, options="TransposeOptions")
    make.op("STRIDED_SLICE", [b, make.ints([0, 1, 0, 0]), make.ints([1, 6, 8, 9]),
                              make.ints([1, 2, 2, 1])], c, 2, options="StridedSliceOptions",
            endMask=8)  # fmt: skip
    make.op("SPLIT", [make.ints(np.array(3)), c], [d, e], 2, options="SplitOptions", numSplits=2)
    make.op("RESIZE_NEAREST_NEIGHBOR", [e, make.ints([6, 4])], f, 2,
            options="ResizeNearestNeighborOptions", halfPixelCenters=True)  # fmt: skip
    make.op("SLICE", [f, make.ints([0, 3, 0, 0]), make.ints([1, 2, 4, 2])], g, 2,
            options="SliceOptions")  # fmt: skip
    make.op("MEAN", [g, make.ints([1, 2])], h, 2, options="ReducerOptions", keepDims=True)
    make.op("MEAN", [f, make.ints([1, 2])], i, 2, options="ReducerOptions", keepDims=False)
    j, k = tensor(2), tensor(2)
    make.op("RESHAPE", [h, make.ints([1, 2])], j, options="ReshapeOptions")
    del i, k, d
    equal(make.data(x, j), tmp_path)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("out", [(0.05, 3), (0.04, -7), (0.11, 9)])
def test_mean(out, keep, tmp_path):
    make = TfMaker(1)
    x = make.tensor([1, 7, 6, 40], 0.05, 3)
    y = make.tensor([1, 1, 1, 40] if keep else [1, 40], *out)
    make.op("MEAN", [x, make.ints([1, 2])], y, 2, options="ReducerOptions", keepDims=keep)
    equal(make.data(x, y), tmp_path)


def test_what_is_not_read_says_why(tmp_path):
    make = TfMaker(1)
    x, y = make.tensor([1, 5, 6, 4], 0.05, 3), make.tensor([1, 6, 5, 4], 0.05, 3)
    make.op("TRANSPOSE", [x, make.ints([2, 1, 0, 3])], y, options="TransposeOptions")
    z = make.tensor([1, 1, 5, 4], 0.05, 3)
    make.op("MEAN", [y, make.ints([1])], z, options="ReducerOptions", keepDims=True)
    path = tmp_path / "m.tflite"
    path.write_bytes(make.data(x, z))
    with pytest.raises(UnsupportedError) as caught:
        import_tflite(path)
    assert "the batch must stay in front" in caught.value.problems[0]
    assert "a mean over axes [1]" in caught.value.problems[1]
