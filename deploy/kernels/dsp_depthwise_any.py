# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution of any window on cores with the DSP extension: two taps an instruction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...hw_models.work import GROUP, padded
from ..ops.base import CArray, CPlan, Helper, TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..pack import code_expressions
from . import dsp_packing as dsp


def gather_helper(source: TensorInfo) -> Helper:
    """The function that brings one channel into a plane of half-words."""
    load = "ldrsb" if source.type.signed else "ldrb"
    return dsp.helper("dsp_gather", "gather", {"type": source.type.c_name, "load": load})


def plan(op: DepthwiseConv2d, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of any depthwise convolution."""
    source, window, weights = inputs[0], op.window, op.weights
    height, width, channels = source.shape
    top, left, bottom, right = window.pad
    kernel_rows, kernel_columns = window.kernel
    taps = kernel_rows * kernel_columns
    row_halves = width + left + right
    plane_halves = row_halves * (height + top + bottom)
    # two taps are a word where they are neighbours; else the upper half-word weighs nothing
    paired = window.dilation[1] == 1
    first_taps = range(0, kernel_columns, 2 if paired else 1)
    gather = gather_helper(source)
    rule = op.requant
    constants = np.stack([rule.bias, rule.m << (32 - rule.s), rule.z], axis=1) % dsp.WORD
    pair_words = kernel_rows * len(first_taps)
    values = {
        "gather": dsp.tag_of(gather),
        "rows": output.shape[0],
        "columns": output.shape[1],
        "out_channels": output.shape[2],
        "multiplier": output.shape[2] // channels,
        "channels": channels,
        "width": width,
        "height": height,
        "gap": left + right,
        "start": top * row_halves + left,
        # a pair may reach one half-word past the plane
        "plane_halves": plane_halves + 2,
        "pad_value": op.pad_value,
        "pair_words": pair_words,
        "paired": paired,
        "kernel_rows": kernel_rows,
        "kernel_columns": kernel_columns,
        "taps": taps,
        "offsets": tuple(2 * window.dilation[1] * tap for tap in first_taps),
        "tap_step": 2 * window.dilation[0] * row_halves,
        "row_step": window.stride[0] * row_halves,
        "column_step": 2 * window.stride[1],
        "shift": rule.p,
        "lo": rule.lo,
        "hi": rule.hi,
        "bits": weights.bits,
        "step": weights.step,
        "offset": weights.offset,
        "slots": padded(taps),
        "blocks": padded(taps) // GROUP,
        "row_bytes": padded(taps) // GROUP * weights.bits,
    }
    codes = tuple(code_expressions(weights.bits, "w"))
    unpack = (("bits", weights.bits), ("tag", f"w{weights.bits}"), ("codes", codes))
    arrays = (
        weights.packed(),
        CArray("c", "uint32_t", tuple(constants.reshape(-1).tolist()), "bias, multiplier, zero"),
    )
    helpers: tuple[Helper, ...] = (
        ("dsp_smlad", ()), ("dsp_finish", ()), ("dsp_load", ()), ("dsp_scalar", ()), gather,
        ("unpack", unpack),
    )  # fmt: skip
    scratch = 4 * pair_words + 2 * (plane_halves + 2)
    return CPlan("depthwise_any", values, arrays, helpers, scratch, op.proof(inputs))
