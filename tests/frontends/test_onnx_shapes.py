# SPDX-License-Identifier: Apache-2.0
"""Linear Resize, and sums and products of different shapes, against ONNX's reference evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import OnnxMaker, compared, save

from adaqat.deploy import UnsupportedError, import_onnx, quantize_input
from adaqat.deploy.emit import layout
from adaqat.deploy.targets import get
from adaqat.deploy.verification import compare_host

FLOAT_TIES = 0.02
"""Part of the codes that ONNX's float32 and halves to even may round otherwise."""


def floats(shape, scale: float, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(3)
    reach = 140 * scale
    ends = [np.full(shape, -reach), np.zeros(shape), np.full(shape, reach)]
    return np.concatenate([rng.uniform(-reach, reach, (count, *shape)), ends]).astype(np.float32)


def near(
    make: OnnxMaker, y: str, shape, folder, *, ties: float = FLOAT_TIES, count: int = 12
):
    """The model's own codes but for ties, and the host C's exactly."""
    model = make.model(y, [1, *shape])
    graph = import_onnx(save(model, folder))
    inputs = floats(shape, 0.05, count)
    given = quantize_input(graph, inputs)
    values, off, largest = compared(graph, model, inputs, given)
    assert values > 0 and largest <= 1 and off <= ties * values, (values, off, largest)
    result = compare_host(layout(graph, get("c99"), "net"), given)
    assert result.mismatches == 0, result.first
    return graph


RESIZES = [
    ("half_pixel", {"sizes": [1, 3, 10, 8]}),
    ("half_pixel", {"factors": [1, 1, 3, 1.5]}),
    ("half_pixel", {"sizes": [1, 3, 3, 2]}),
    ("pytorch_half_pixel", {"factors": [1, 1, 2, 2]}),
    ("align_corners", {"sizes": [1, 3, 9, 7]}),
    ("align_corners", {"sizes": [1, 3, 13, 11]}),
    ("asymmetric", {"sizes": [1, 3, 5, 4]}),
]


@pytest.mark.parametrize(("how", "given"), RESIZES)
def test_linear_resize(how, given, tmp_path):
    make = OnnxMaker(1)
    x = make.qdq("x", 0.05, 3)
    inputs = [x, "", *(
        ["", make.const(given["sizes"], "int64")] if "sizes" in given
        else [make.const(given["factors"])]
    )]  # fmt: skip
    y = make.node("Resize", inputs, mode="linear", coordinate_transformation_mode=how)
    graph = near(make, make.quantize(y, 0.045, -2), (3, 5, 4), tmp_path, ties=0.1, count=3)
    assert "upsample_bilinear" in {node.op.kind for node in graph.nodes}


def test_linear_resize_of_a_sequence_and_chosen_axes(tmp_path):
    make = OnnxMaker(1)
    x = make.qdq("x", 0.05, 3)
    y = make.node("Resize", [x, "", "", make.const([14], "int64")], mode="linear", axes=[2])
    y = make.node("Relu", [y])
    near(make, make.quantize(y, 0.045, -2), (3, 7), tmp_path, ties=0.1)


CONSTANTS = [(1, 3, 5, 4), (5, 4), (1, 1, 4), (3, 1, 4), (1, 3, 1, 1), (3, 5, 4)]


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Div"])
@pytest.mark.parametrize("shape", CONSTANTS, ids=str)
def test_constants_of_any_shape(op, shape, tmp_path):
    make = OnnxMaker(2)
    x = make.qdq("x", 0.05, 3)
    values = make.rng.uniform(0.4, 1.6, shape) * make.rng.choice([-1, 1], shape)
    y = make.node(op, [x, make.const(values)])
    y = make.node("Mul", [y, make.const(make.rng.uniform(0.5, 1, (3, 1, 1)))])
    y = make.node("Relu", [make.node("Add", [y, make.const(0.7)])])
    near(make, make.quantize(y, 0.06, -7), (3, 5, 4), tmp_path)


def test_a_position_code_for_features(tmp_path):
    make = OnnxMaker(2)
    x = make.qdq("x", 0.05, 3)
    y = make.node("Add", [x, make.const(make.rng.normal(0, 1, (9, 6)))])
    near(make, make.quantize(y, 0.07, 2), (9, 6), tmp_path)


PAIRS = [((3, 1, 1), (3, 5, 4)), ((1, 5, 4), (3, 5, 4)), ((1, 1, 1), (3, 5, 4)),
         ((3, 1, 1), (1, 5, 4)), ((3, 5, 1), (3, 1, 4)), ((3, 5, 4), (3, 1, 4))]  # fmt: skip


def part(make: OnnxMaker, x: str, shape) -> str:
    """The first positions of a tensor (1, 3, 5, 4)."""
    ends = make.const(shape, "int64")
    cut = make.node("Slice", [x, make.const([0, 0, 0], "int64"), ends,
                              make.const([1, 2, 3], "int64")])  # fmt: skip
    return make.qdq(make.node("Relu", [cut]), 0.04, -100)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
def test_tensors_of_different_shapes(op, shapes, tmp_path):
    make = OnnxMaker(2)
    x = make.qdq("x", 0.05, 3)
    first, second = (part(make, x, shape) for shape in shapes)
    y = make.node(op, [first, second])
    near(make, make.quantize(y, 0.083, -7), (3, 5, 4), tmp_path)


def resize(make: OnnxMaker, x: str, **attrs) -> str:
    sizes = make.const([1, 3, 10, 8], "int64")
    return make.node("Resize", [x, "", "", sizes], name="layer", **attrs)


def counted(make: OnnxMaker, shape) -> str:
    return make.const(np.arange(float(np.prod(shape))).reshape(shape))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda m, x: resize(m, x, mode="cubic"), "mode cubic of shape"),
        (lambda m, x: resize(m, x, mode="linear", antialias=1), "linear with antialias of shape"),
        (lambda m, x: resize(m, x, mode="linear", coordinate_transformation_mode="asymmetric"),
         r"from \[5, 4\] to \[10, 8\] with asymmetric; the positions of half_pixel"),
        (lambda m, x: resize(m, x, mode="linear", keep_aspect_ratio_policy="not_larger"),
         "keep_aspect_ratio_policy not_larger"),
        (lambda m, x: m.node("Resize", [x, "", "", m.const([10], "int64")], name="layer"),
         "1 sizes for 4 axes"),
        (lambda m, x: m.node("Add", [x, counted(m, (3, 5, 3))]),
         r"shapes .1, 3, 5, 4. and .1, 3, 5, 3.; equal sizes, or 1"),
        (lambda m, x: m.node("Add", [part(m, x, (3, 1, 4)), counted(m, (3, 5, 1))]),
         "a result of the tensor's shape is supported"),
        (lambda m, x: m.node("Add", [m.node("Sigmoid", [x]), counted(m, (5, 4))]),
         "a function of codes arrives here without a quantiser"),
        (lambda m, x: m.node("Add", [m.node("Add", [x, part(m, x, (3, 5, 4))]),
                                     part(m, x, (3, 1, 1))]),
         "one of them a sum itself; equal ones, or two quantised tensors"),
    ],
)  # fmt: skip
def test_refusals(build, message, tmp_path):
    make = OnnxMaker(2)
    y = build(make, make.qdq("x", 0.05, 3))
    with pytest.raises(UnsupportedError, match=message):
        import_onnx(save(make.model(make.quantize(y, 0.1), [1, 3, 5, 4]), tmp_path))
