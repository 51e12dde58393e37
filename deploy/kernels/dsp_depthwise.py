# SPDX-License-Identifier: Apache-2.0
"""Depthwise 3x3 convolution on cores with the DSP extension.

One channel at a time is gathered into a plane of half-words with its padding around it. Two outputs
of a row then need two words of each of three plane rows: with pairs P = (w0, w1) and Q = (w1, w2)
of a kernel row and x0..x3 of the plane, ``y0 = x01.P + x2*w2`` and ``y1 = x1*w0 + x23.Q``. With a
stride of two most of the work is the gathering: there four channels are gathered at a time, which
are one word of every pixel, and large images come in bands of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...hw_models.dsp_form import HALF_MAX
from ...hw_models.plane_form import (
    COLUMNS,
    LARGEST_STEP,
    PLANES,
    Bands,
    PlaneForm,
    fills,
    plane_bands,
    plane_form,
    plane_loop,
)
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.weighted import WeightedOp
from ..requant import Int64
from . import dsp_columns, dsp_depthwise_any
from . import dsp_packing as dsp


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
    form = plane_form(source.shape, window.kernel, window.stride, window.dilation, window.pad)
    if form is None:
        return dsp_depthwise_any.plan(op, inputs, output)
    height, width, channels = source.shape
    bands = plane_bands(form, height, output.shape[0], window.stride[0], window.pad)
    four = form.planes == PLANES
    kernel = plane_helper(op, output, form, bands.rows if four else None)
    gather = _gather(source, form)
    loop_values: dict[str, object] = {
        "type": source.type.c_name, "out": output.type.c_name, "gather": dsp.tag_of(gather),
        "planes": form.planes,
    }  # fmt: skip
    channel_loop = dsp.helper("dsp_channels", "channels", loop_values)
    stream = weight_stream(op)
    halves = bands.halves if four else form.halves
    own = (channels, output.shape[2] // channels, len(stream) // output.shape[2],
           pad_word(op), fills(halves))  # fmt: skip
    geometry: tuple[int, ...] = (
        form.distance, form.start, height, width, form.row_bytes // 2 - width, *own
    )  # fmt: skip
    if four:
        ahead = width // COLUMNS * PLANES * COLUMNS + width % COLUMNS
        rest = 2 * (form.row_bytes // 2 - ahead)
        geometry = (width, rest, *own, *_band_words(bands, source, output))
    pairs = pairs_helper(op)
    values = {
        "tile": dsp.tag_of(kernel), "channels": dsp.tag_of(channel_loop),
        "pairs": dsp.tag_of(pairs),
    }  # fmt: skip
    arrays = (
        CArray("w", "uint32_t", stream, "for each channel: weights, bias, multiplier"),
        CArray("g", "uint32_t", geometry, "geometry of the plane and the channels"),
    )
    helpers = (
        ("dsp_guard", ()), ("dsp_finish", ()), ("dsp_fill", ()), gather, channel_loop, pairs,
        kernel,
    )  # fmt: skip
    proofs = (*op.proof(inputs), *weight_proof(op))
    scratch = 16 * fills(halves)
    return CPlan("depthwise_conv2d", values, arrays, helpers, scratch, proofs)


def _band_words(bands: Bands, source: TensorInfo, output: TensorInfo) -> tuple[int, ...]:
    """Count of bands; of each: first byte of the input, of the output, rows, first half-word."""
    row, out_row = source.shape[1] * source.shape[2], output.shape[1] * output.shape[2]
    words = [len(bands.bands)]
    for band in bands.bands:
        words += [band.image * row, band.output * out_row, band.rows, band.start]
    return tuple(words)


def _gather(source: TensorInfo, form: PlaneForm) -> Helper:
    """The function that brings one, two or four channels into their planes."""
    values: dict[str, object] = {"type": source.type.c_name, "signed": source.type.signed}
    if form.planes == 1:
        return dsp_depthwise_any.gather_helper(source)
    if form.planes == 2:
        return dsp.helper("dsp_gather_two", "gather_two", values)
    return dsp.helper("dsp_gather_four", "gather_four", values)


def pad_word(op: DepthwiseConv2d | Conv2d) -> int:
    """The padding value in both halves of a word."""
    return op.pad_value % (1 << 16) * dsp_columns.EVERY_HALF


def weight_proof(op: WeightedOp) -> tuple[str, ...]:
    """What bounds the weights that take the shift over."""
    reach = int(np.abs(op.weights.values).max()) << _shift(op)
    return (f"shifted weights up to {reach} <= {HALF_MAX}",)


def _shift(op: WeightedOp) -> int:
    """Left shift that the weights take over from the accumulator: all of it or none."""
    reach = int(np.abs(op.weights.values).max()) << op.requant.p
    return op.requant.p if reach <= HALF_MAX else 0


def _fields(op: WeightedOp) -> list[Field]:
    """Where the pairs P0 Q0 P1 Q1 P2 Q2 of a channel lie."""
    bits = op.weights.bits
    up = _shift(op) + op.weights.step.bit_length() - 1
    each = 16 // bits
    return [Field(k // each, bits * (k % each) - up) for k in range(6)]


def weight_stream(op: WeightedOp) -> tuple[int, ...]:
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


def pairs_helper(op: DepthwiseConv2d | Conv2d) -> Helper:
    """The function that takes the packed weights of a channel apart."""
    fields, shift = _fields(op), _shift(op)
    lanes = (((1 << op.weights.bits) - 1) * op.weights.step) << shift
    values: dict[str, object] = {
        "fields": fields,
        "words": fields[-1].word + 1,
        "mask": lanes * dsp_columns.EVERY_HALF,
        "offset": ((op.weights.offset << shift) % (1 << 16)) * dsp_columns.EVERY_HALF,
        "zeros": dsp.same_zero(op.requant) is None,
    }
    return dsp.helper("dsp_pairs", f"pairs{op.weights.bits}", values)


def plane_helper(
    op: DepthwiseConv2d | Conv2d, output: TensorInfo, form: PlaneForm, rows: int | None = None
) -> Helper:
    """The function of one channel's outputs; ``rows`` of them, all when left out."""
    return dsp.helper("dsp_plane", "plane3x3", _kernel_values(op, output, form, rows))


def _kernel_values(
    op: DepthwiseConv2d | Conv2d, output: TensorInfo, form: PlaneForm, band: int | None
) -> dict[str, object]:
    """What the plane function prints."""
    rows, columns, channels = output.shape
    rows = band or rows
    shift = _shift(op)
    four = form.planes == PLANES
    step_bytes = 4 * PLANES if four else 2 * op.window.stride[1]
    loop = plane_loop(columns)
    return {
        "late": op.requant.p - shift,
        "row_bytes": form.row_bytes,
        "odd": form.odd,
        "planes": form.planes,
        "split": form.split,
        # from a pair of outputs to the next: the words between them are those of other channels
        "pair_bytes": 2 * step_bytes,
        "stride": op.window.stride[1],
        "single": loop.single,
        "unrolled": loop.unrolled,
        "iterations": loop.iterations,
        "after": loop.after,
        "loop_bytes": 2 * step_bytes * loop.unrolled * loop.iterations,
        "next_loop": op.window.stride[0] * form.row_bytes,
        "step_bytes": step_bytes,
        "columns": columns,
        "channels": channels,
        "post_index": channels <= LARGEST_STEP,
        "out_bytes": rows * columns * channels,
        "rows": rows,
        "row_step": op.window.stride[0] * form.row_bytes // 2,
        "out": output.type.c_name,
        **dsp.requant_values(op.requant, 1),
    }
