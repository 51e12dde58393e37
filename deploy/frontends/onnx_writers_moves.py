# SPDX-License-Identifier: Apache-2.0
"""How operators that only move codes are written as ONNX nodes, and argmax."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..ops.pad import Pad
from ..ops.slice import Slice
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleNearest
from .onnx_export import CHANNELS_FIRST, File, Write, onnx_shape


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


MOVING: dict[str, Write] = {
    "argmax": write_argmax, "concat": write_concat, "pad": write_pad, "reshape": write_reshape,
    "slice": write_slice, "transpose": write_transpose, "upsample_nearest": write_nearest,
}  # fmt: skip
"""Writers by the kind of operator."""
