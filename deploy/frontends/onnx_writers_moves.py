# SPDX-License-Identifier: Apache-2.0
"""How operators without weights are written as ONNX nodes: moves, argmax, softmax, bilinear."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..ops.pad import Pad
from ..ops.slice import Slice
from ..ops.softmax import Softmax
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleBilinear, UpsampleNearest, taps
from .onnx_export import CHANNELS_FIRST, DOUBLE, File, Write, onnx_shape


def write_concat(f: File, node: Node) -> None:
    """Concat of channels."""
    shape = onnx_shape(node.output.shape)
    axis = 1 if len(shape) == 4 else len(shape) - 1
    parts = [f.codes(node, i) for i in range(len(node.inputs))]
    f.result(node, f.step(node, "Concat", parts, shape, axis=axis))


def write_reshape(f: File, node: Node) -> None:
    """Reshape, in the graph's order of axes."""
    before, after = f.info(node).shape, node.output.shape
    x = f.last(node, f.codes(node), before)
    sizes = f.constant(f"{node.name}/shape", (f.batch, *after), np.int64)
    x = f.step(node, "Reshape", [x, sizes], (1, *after))
    if len(after) == 3:
        x = f.step(node, "Transpose", [x], onnx_shape(after), perm=CHANNELS_FIRST)
    f.result(node, x)


def axis_order(rank: int) -> tuple[int, ...]:
    """For every axis in ONNX's order without the batch, the graph's axis."""
    return (2, 0, 1) if rank == 3 else tuple(range(rank))


def write_transpose(f: File, node: Node) -> None:
    """Transpose."""
    assert isinstance(node.op, Transpose)
    order = axis_order(len(node.output.shape))
    perm = [0, *(1 + order.index(node.op.axes[axis]) for axis in order)]
    shape = onnx_shape(node.output.shape)
    f.result(node, f.step(node, "Transpose", [f.codes(node)], shape, perm=perm))


def write_pad(f: File, node: Node) -> None:
    """Pad with a code."""
    op = node.op
    assert isinstance(op, Pad)
    order = axis_order(len(node.output.shape))
    pads = [0, *(op.before[a] for a in order), 0, *(op.after[a] for a in order)]
    inputs = [f.codes(node), f.constant(f"{node.name}/pads", pads, np.int64),
              f.constant(f"{node.name}/border", op.value)]  # fmt: skip
    f.result(node, f.step(node, "Pad", inputs, onnx_shape(node.output.shape), mode="constant"))


def write_slice(f: File, node: Node) -> None:
    """Slice."""
    op = node.op
    assert isinstance(op, Slice)
    order = axis_order(len(node.output.shape))
    numbers = {
        "starts": [op.start[a] for a in order],
        "ends": [op.start[a] + (op.size[a] - 1) * op.step[a] + 1 for a in order],
        "axes": [1 + i for i in range(len(order))],
        "steps": [op.step[a] for a in order],
    }
    inputs = [f.constant(f"{node.name}/{name}", v, np.int64) for name, v in numbers.items()]
    shape = onnx_shape(node.output.shape)
    f.result(node, f.step(node, "Slice", [f.codes(node), *inputs], shape))


def write_nearest(f: File, node: Node) -> None:
    """UpsampleNearest by whole factors."""
    assert isinstance(node.op, UpsampleNearest)
    before, size = f.info(node).shape, node.op.size
    if size[0] % before[0] or size[1] % before[1]:
        raise UnsupportedError(
            [f"from {before[:2]} to {size}; whole factors have an ONNX form; choose such a size"]
        )
    factors = (1, 1, size[0] // before[0], size[1] // before[1])
    scales = f.constant(f"{node.name}/factors", factors)
    f.result(node, f.step(
        node, "Resize", [f.codes(node), "", scales], onnx_shape(node.output.shape), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    ))  # fmt: skip


def write_argmax(f: File, node: Node) -> None:
    """ArgMax over channels."""
    shape = onnx_shape(node.output.shape)
    axis = 1 if len(shape) == 4 else len(shape) - 1
    index = f.step(node, "ArgMax", [f.codes(node)], shape, "INT64", axis=axis, keepdims=1)
    f.result(node, index, "INT64")


def write_softmax(f: File, node: Node) -> None:
    """Softmax: exponentials from the table, one exact division each."""
    op = node.op
    assert isinstance(op, Softmax)
    shape = onnx_shape(node.output.shape)
    axis = 1 if len(shape) == 4 else len(shape) - 1
    one = tuple(1 if i == axis else size for i, size in enumerate(shape))
    x = f.codes(node)
    top = f.step(node, "ReduceMax", [x], one, axes=[axis], keepdims=1)
    index = f.cast(node, f.step(node, "Sub", [top, x], shape), shape, "INT64")
    table = f.constant(f"{node.name}/table", op.table, np.float64)
    e = f.step(node, "Gather", [table, index], shape, DOUBLE, axis=0)
    axes = f.constant(f"{node.name}/axis", [axis], np.int64)
    total = f.step(node, "ReduceSum", [e, axes], one, DOUBLE, keepdims=1)
    half = f.binary(node, "Mul", total, 0.5, "half", one)
    half = f.step(node, "Floor", [half], one, DOUBLE)
    scaled = f.binary(node, "Mul", e, 1 << op.out_type.bits, "2^bits", shape)
    y = f.step(node, "Add", [scaled, half], shape, DOUBLE)
    # below 2^53 a quotient that is not whole keeps its distance from the next whole number
    y = f.step(node, "Floor", [f.step(node, "Div", [y, total], shape, DOUBLE)], shape, DOUBLE)
    hi = f.constant(f"{node.name}/hi", op.out_type.hi, np.float64)
    f.result(node, f.step(node, "Clip", [y, "", hi], shape, DOUBLE), DOUBLE)


def write_bilinear(f: File, node: Node) -> None:
    """UpsampleBilinear: a product with a matrix of whole weights along each axis."""
    op = node.op
    assert isinstance(op, UpsampleBilinear)
    height, width, channels = f.info(node).shape
    x = f.cast(node, f.codes(node), (1, channels, height, width), DOUBLE)
    matrices = []
    for size, out in zip((height, width), op.size, strict=True):
        low, high, weight, denominator = taps(size, out, bool(op.corners))
        matrix, rows = np.zeros((out, size), np.int64), np.arange(out)
        np.add.at(matrix, (rows, low), denominator - weight)
        np.add.at(matrix, (rows, high), weight)
        matrices.append(matrix)
    rows_ = f.constant(f"{node.name}/rows", matrices[0], np.float64)
    columns = f.constant(f"{node.name}/columns", matrices[1].T, np.float64)
    x = f.step(node, "MatMul", [rows_, x], (1, channels, op.size[0], width), DOUBLE)
    x = f.step(node, "MatMul", [x, columns], onnx_shape(node.output.shape), DOUBLE)
    f.requantised(node, x, op.requant, DOUBLE)


MOVING: dict[str, Write] = {
    "argmax": write_argmax, "concat": write_concat, "pad": write_pad, "reshape": write_reshape,
    "slice": write_slice, "softmax": write_softmax, "transpose": write_transpose,
    "upsample_bilinear": write_bilinear, "upsample_nearest": write_nearest,
}  # fmt: skip
"""Writers by the kind of operator."""
