# SPDX-License-Identifier: Apache-2.0
"""Windows of .tflite operators: SAME and VALID padding."""

from __future__ import annotations

from ..graph import Node
from ..ops.base import Window
from .tflite import Unreadable
from .tflite_file import TfOperator

SAME = 0
"""Padding number of the schema; 1 is VALID."""


def same_window(
    same: bool,
    source: Node,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    """A window with VALID or SAME padding, the odd position of SAME behind."""
    if min(stride) < 1 or min(dilation) < 1:
        raise Unreadable(f"stride {stride}, dilation {dilation}; positive ones are supported")
    pad = [0, 0, 0, 0]
    for axis in (0, 1) if same else ():
        size = source.output.shape[axis]
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        total = max((-(-size // stride[axis]) - 1) * stride[axis] + reach - size, 0)
        pad[axis], pad[axis + 2] = total // 2, total - total // 2
    return Window(kernel, stride, dilation, (pad[0], pad[1], pad[2], pad[3]))


def pool_window(op: TfOperator, source: Node) -> Window:
    """Geometry of a pool."""
    kernel, stride = (op.option(4), op.option(3)), (op.option(2), op.option(1))
    return same_window(op.option(0, "b") == SAME, source, kernel, stride)
