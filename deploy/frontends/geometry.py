# SPDX-License-Identifier: Apache-2.0
"""Attributes in PyTorch's order of axes (C, H, W) as windows and moves of the graph (H, W, C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ops.base import Op, Window
from ..ops.pad import Pad
from ..ops.slice import Slice
from ..ops.source import Reshape
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleNearest

Attrs = Mapping[str, Any]


def nhwc(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, H, W) as (H, W, C); vectors stay."""
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else shape


def window_of(attrs: Attrs) -> Window:
    """Geometry of a convolution or pool."""
    kernel, stride, dilation = (tuple(attrs[key]) for key in ("kernel", "stride", "dilation"))
    return Window(kernel, stride, dilation, tuple(attrs["pad"]))


def transposed_window(attrs: Attrs) -> Window:
    """Geometry of a transposed convolution over its spread input."""
    kernel, dilation = tuple(attrs["kernel"]), tuple(attrs["dilation"])
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    top, left, bottom, right = (r - p for r, p in zip(reach * 2, attrs["pad"], strict=True))
    down, across = attrs["out_pad"]
    return Window(kernel, (1, 1), dilation, (top, left, bottom + down, right + across))


def moving_op(kind: str, attrs: Attrs, shape: tuple[int, ...]) -> Op | None:
    """The operator of a kind that only moves codes; ``shape`` is (H, W, C)."""
    match kind:
        case "slice":
            return Slice(nhwc(attrs["start"]), shape, nhwc(attrs["step"]))
        case "pad":
            (top, left, bottom, right), (front, back) = attrs["pad"], attrs["channels"]
            return Pad((top, left, front), (bottom, right, back))
        case "permute":
            place = {1: 0, 2: 1, 0: 2}  # of torch's axes C, H, W in the graph
            axes = attrs["axes"]
            return Transpose(tuple(place[axes[i]] for i in (1, 2, 0)))
        case "shuffle":
            return Reshape(shape)
        case "upsample_nearest":
            return UpsampleNearest(tuple(attrs["size"]))
    return None
