# SPDX-License-Identifier: Apache-2.0
"""How operators that move codes are written as .tflite operators."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..ops.extremum import Extremum
from ..ops.pad import Pad
from ..ops.slice import Slice
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleNearest
from .tflite_growing import File, Write


def write_reshape(f: File, node: Node) -> None:
    """RESHAPE."""
    f.reshaped_result(f.source(node), node)


def write_concat(f: File, node: Node) -> None:
    """CONCATENATION of channels."""
    parts = [f.source(node, i) for i in range(len(node.inputs))]
    f.op("CONCATENATION", parts, f.result(node), 2, "ConcatenationOptions",
         axis=len(node.output.shape))  # fmt: skip


def write_extremum(f: File, node: Node) -> None:
    """MAXIMUM or MINIMUM of two tensors."""
    op = node.op
    assert isinstance(op, Extremum)
    if len(node.inputs) != 2:
        raise UnsupportedError(
            [f"the extremum of {len(node.inputs)} tensors; two are supported; take two at a time"]
        )
    name = "MAXIMUM" if op.largest else "MINIMUM"
    inputs = [f.source(node, i) for i in (0, 1)]
    version = 4 if node.output.wide else 2
    f.op(name, inputs, f.result(node), version, "MaximumMinimumOptions")


def write_pad(f: File, node: Node) -> None:
    """PAD or PADV2."""
    op = node.op
    assert isinstance(op, Pad)
    x = f.source(node)
    f.pad(x, f.result(node), f.info(node), (*op.before,), (*op.after,), op.value)


def write_slice(f: File, node: Node) -> None:
    """SLICE, or STRIDED_SLICE with steps above 1."""
    op = node.op
    assert isinstance(op, Slice)
    x, begin = f.source(node), f.ints(f"{node.name}/begin", (0, *op.start))
    if set(op.step) == {1}:
        size = f.ints(f"{node.name}/size", (1, *op.size))
        f.op("SLICE", [x, begin, size], f.result(node), 2, "SliceOptions")
        return
    ends = [a + (n - 1) * d + 1 for a, n, d in zip(op.start, op.size, op.step, strict=True)]
    end, step = (f.ints(f"{node.name}/{n}", (1, *v)) for n, v in
                 (("end", ends), ("step", op.step)))  # fmt: skip
    f.op("STRIDED_SLICE", [x, begin, end, step], f.result(node), 2, "StridedSliceOptions")


def write_transpose(f: File, node: Node) -> None:
    """TRANSPOSE."""
    op = node.op
    assert isinstance(op, Transpose)
    axes = f.ints(f"{node.name}/axes", (0, *(axis + 1 for axis in op.axes)))
    f.op("TRANSPOSE", [f.source(node), axes], f.result(node), 2, "TransposeOptions")


def write_nearest(f: File, node: Node) -> None:
    """RESIZE_NEAREST_NEIGHBOR; LiteRT multiplies positions with a float32 ratio."""
    op = node.op
    assert isinstance(op, UpsampleNearest)
    for size, out in zip(f.info(node).shape, op.size, strict=False):
        ratio = np.float32(size) / np.float32(out)
        found = np.floor(np.arange(out, dtype=np.float32) * ratio)
        if not np.array_equal(np.minimum(found, size - 1), np.arange(out) * size // out):
            raise UnsupportedError(
                [f"from {size} to {out} positions, where LiteRT picks others in float32; whole"
                 " factors are supported; resize by a whole factor"]
            )  # fmt: skip
    sizes = f.ints(f"{node.name}/size", op.size)
    f.op("RESIZE_NEAREST_NEIGHBOR", [f.source(node), sizes], f.result(node), 2,
         "ResizeNearestNeighborOptions")  # fmt: skip


def write_argmax(f: File, node: Node) -> None:
    """ARG_MAX as the end of the network: its index is int32."""
    if node.name != f.graph.output:
        raise UnsupportedError(
            ["argmax inside the network; as the output it is supported; move it to the end"]
        )
    axis, shape = f.ints(f"{node.name}/axis", len(node.output.shape)), node.output.shape
    index = f.tensor(f"{node.name}/index", (1, *shape[:-1]), "int32")
    f.op("ARG_MAX", [f.source(node), axis], index, 2, "ArgMaxOptions",
         outputType=f.schema.TensorType.INT32)  # fmt: skip
    f.at[node.name] = f.tensor(node.name, (1, *shape), "int32")
    sizes = f.ints(f"{node.name}/shape", (1, *shape))
    f.op("RESHAPE", [index, sizes], f.at[node.name], 1, "ReshapeOptions", newShape=[1, *shape])


MOVING: dict[str, Write] = {
    "argmax": write_argmax,
    "concat": write_concat,
    "extremum": write_extremum,
    "pad": write_pad,
    "reshape": write_reshape,
    "slice": write_slice,
    "transpose": write_transpose,
    "upsample_nearest": write_nearest,
}
"""How each operator is written, by kind."""
