# SPDX-License-Identifier: Apache-2.0
"""Depthwise 3x3 convolution on cores with the DSP extension.

One channel at a time is gathered into a plane of half-words with its padding around it. Two outputs
of a row then need two words of each of three plane rows: with pairs P = (w0, w1) and Q = (w1, w2)
of a kernel row and x0..x3 of the plane, ``y0 = x01.P + x2*w2`` and ``y1 = x1*w0 + x23.Q``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ops.base import CArray, CPlan, Op, TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..requant import Int64
from . import dsp_depthwise_any
from . import dsp_packing as dsp

LARGEST_OFFSET = 1020
"""LDRD reaches so many bytes past its base register."""
LARGEST_STEP = 255
"""A store moves its base register by so many bytes at most."""
PAIRS_STRAIGHT = 3
PAIRS_UNROLLED = (4, 3, 2)
"""Pairs of outputs in the body of a row's loop, the first that divides; else two and the rest."""


@dataclass(frozen=True)
class Field:
    """One pair of weights in its packed word: word, the shift that brings it to its place."""

    word: int
    right: int

    @property
    def shift(self) -> str:
        """The shift as an assembly operand."""
        if self.right == 0:
            return ""
        return f", lsr #{self.right}" if self.right > 0 else f", lsl #{-self.right}"

    @property
    def c_shift(self) -> str:
        """The shift as a C operator."""
        if self.right == 0:
            return ""
        return f" >> {self.right}" if self.right > 0 else f" << {-self.right}"


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a depthwise convolution; other than 3x3 of horizontal stride 1 or 2 are slower."""
    assert isinstance(op, DepthwiseConv2d)
    source, window = inputs[0], op.window
    if window.kernel != (3, 3) or window.dilation != (1, 1) or window.stride[1] > 2:
        return dsp_depthwise_any.plan(op, inputs, output)
    height, width, channels = source.shape
    top, left, bottom, right = window.pad
    # one more than the padding where the width is odd, so that rows start at words
    row_bytes = 4 * ((width + left + right + 1) // 2)
    if 2 * row_bytes + 8 > LARGEST_OFFSET:
        return dsp_depthwise_any.plan(op, inputs, output)
    plane_bytes = row_bytes * (height + top + bottom) + 8
    kernel = dsp.helper("dsp_plane", "plane3x3", _kernel_values(op, output, row_bytes))
    gather = dsp_depthwise_any.gather_helper(source)
    loop_values: dict[str, object] = {
        "type": source.type.c_name, "out": output.type.c_name, "gather": dsp.tag_of(gather)
    }  # fmt: skip
    channel_loop = dsp.helper("dsp_channels", "channels", loop_values)
    stream = _stream(op)
    geometry = (
        plane_bytes // 2, top * row_bytes // 2 + left, height, width, row_bytes // 2 - width,
        channels, output.shape[2] // channels, len(stream) // output.shape[2],
        op.pad_value % (1 << 16),
    )  # fmt: skip
    values = {"tile": dsp.tag_of(kernel), "channels": dsp.tag_of(channel_loop)}
    arrays = (
        CArray("w", "uint32_t", stream, "for each channel: weights, bias, multiplier"),
        CArray("g", "uint32_t", geometry, "geometry of the plane and the channels"),
    )
    helpers = (("dsp_finish", ()), gather, channel_loop, kernel)
    reach = int(np.abs(op.weights.values).max()) << _shift(op)
    proofs = (*op.proof(inputs), f"shifted weights up to {reach} <= {dsp.HALF_MAX}")
    return CPlan("depthwise_conv2d", values, arrays, helpers, plane_bytes, proofs)


def _shift(op: DepthwiseConv2d) -> int:
    """Left shift that the weights take over from the accumulator: all of it or none."""
    reach = int(np.abs(op.weights.values).max()) << op.requant.p
    return op.requant.p if reach <= dsp.HALF_MAX else 0


def _fields(op: DepthwiseConv2d) -> list[Field]:
    """Where the pairs P0 Q0 P1 Q1 P2 Q2 of a channel lie."""
    bits = op.weights.bits
    up = _shift(op) + op.weights.step.bit_length() - 1
    each = 16 // bits
    return [Field(k // each, bits * (k % each) - up) for k in range(6)]


def _stream(op: DepthwiseConv2d) -> tuple[int, ...]:
    """Packed pairs, bias and multiplier of every channel, and its zero point where they differ."""
    bits = op.weights.bits
    each = 16 // bits
    rows = op.weights.codes.reshape(-1, 3, 3).astype(np.int64)
    words: Int64 = np.zeros((len(rows), -(-6 // each)), np.int64)
    for k in range(6):
        row, second = divmod(k, 2)
        pair = rows[:, row, second : second + 2]
        words[:, k // each] |= (pair[:, 0] | (pair[:, 1] << 16)) << (bits * (k % each))
    rule = op.requant
    constants = [rule.bias, rule.m << (32 - rule.s)]
    if dsp.same_zero(rule) is None:
        constants.append(rule.z)
    parts = np.concatenate([words, np.stack(constants, axis=1) % dsp.WORD], axis=1)
    return tuple(int(v) for v in parts.reshape(-1))


def _unrolled(pairs: int) -> int:
    return next((count for count in PAIRS_UNROLLED if pairs % count == 0), 2)


def _kernel_values(op: DepthwiseConv2d, output: TensorInfo, row_bytes: int) -> dict[str, object]:
    """What the plane function prints."""
    rows, columns, channels = output.shape
    pairs, single = divmod(columns, 2)
    shift = _shift(op)
    step_bytes = 2 * op.window.stride[1]
    unrolled = pairs if pairs <= PAIRS_STRAIGHT else _unrolled(pairs)
    fields = _fields(op)
    lanes = (((1 << op.weights.bits) - 1) * op.weights.step) << shift
    offset = ((op.weights.offset << shift) % (1 << 16)) * 0x00010001
    return {
        "fields": fields,
        "words": fields[-1].word + 1,
        "mask": lanes * 0x00010001,
        "offset": offset,
        "late": op.requant.p - shift,
        "row_bytes": row_bytes,
        "stride": op.window.stride[1],
        "pairs": pairs,
        "single": single,
        "unrolled": unrolled,
        "iterations": pairs // unrolled if unrolled else 0,
        "after": pairs % unrolled if unrolled else 0,
        "loop_bytes": 2 * step_bytes * (pairs - (pairs % unrolled if unrolled else 0)),
        "next_loop": op.window.stride[0] * row_bytes,
        "step_bytes": step_bytes,
        "columns": columns,
        "channels": channels,
        "post_index": channels <= LARGEST_STEP,
        "out_bytes": rows * columns * channels,
        "rows": rows,
        "row_step": op.window.stride[0] * row_bytes // 2,
        "out": output.type.c_name,
        **dsp.requant_values(op.requant, 1),
    }
