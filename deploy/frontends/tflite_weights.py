# SPDX-License-Identifier: Apache-2.0
"""Weights and biases of .tflite operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.weighted import Weights
from .tflite import Builder, Unreadable
from .tflite_file import TfOperator


def read_weights(b: Builder, op: TfOperator, axis: int) -> tuple[Weights, Any]:
    """(codes, signed values) of the filter, input 1; ``axis`` holds the output channels."""
    tensor = b.constant(op, 1)
    if tensor.type not in ("int8", "int4") or tensor.data is None:
        raise Unreadable(f"{tensor.type} weights; int8 and int4 are supported; quantise to int8")
    if tensor.zero.any():
        raise Unreadable("weights with a zero point; symmetric weights are supported; export again")
    count = tensor.shape[axis]
    if len(tensor.scale) not in (1, count) or (len(tensor.scale) > 1 and tensor.axis != axis):
        raise Unreadable(
            f"{len(tensor.scale)} weight scales on axis {tensor.axis} for {count} channels; one, or"
            " one per output channel, are supported; export it again"
        )
    bits = 8 if tensor.type == "int8" else 4
    offset = -(1 << (bits - 1))
    codes = (tensor.data.astype(np.int16) - offset).astype(np.uint8)
    return Weights(np.ascontiguousarray(codes), bits, 1, offset), tensor.data


def read_bias(b: Builder, op: TfOperator, count: int, position: int = 2) -> Any:
    """The bias, zeros where it is left out."""
    wide = b.tensor(op.inputs[0]).type == "int16"
    if len(op.inputs) <= position or op.inputs[position] < 0:
        if wide and op.name != "FULLY_CONNECTED":
            raise Unreadable(
                "16-bit activations without a bias; LiteRT needs one there; add a bias of zeros"
            )
        return np.zeros(count, np.int64)
    tensor = b.constant(op, position)
    # LiteRT's reference kernels read every bias beside 16-bit activations as int64
    known = "int64" if wide else "int32"
    if tensor.type != known or tensor.data is None or tensor.data.size != count:
        raise Unreadable(
            f"a {tensor.type} bias of shape {tensor.shape}; {known}, one per channel, is supported"
        )
    return tensor.data.reshape(-1).astype(np.int64)
