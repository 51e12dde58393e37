# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution of any window on cores with the DSP extension: two taps an instruction.

Two outputs of a row at a time where their taps lie in the same words. With a stride of one every
word of the plane meets two weight words: (w0, w1) for the even output, (w-1, w0) for the odd one.
A dilated window sees every second (third, ...) column only: the plane holds these columns apart, as
phases, and each of them is convolved as if there were no dilation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...hw_models.dsp_form import HALF_MAX
from ...hw_models.plane_form import fills
from ...hw_models.taps_form import is_straight, phases_of, row_steps, taps_form
from ...hw_models.work import GROUP, padded
from ..ops.base import CArray, CPlan, Helper, TensorInfo, Window
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..pack import code_expressions
from . import dsp_columns
from . import dsp_packing as dsp

FEW_OUTPUTS = 400
"""Channels of fewer outputs have their codes stored as bytes."""


def gather_helper(source: TensorInfo) -> Helper:
    """The function that brings one channel into a plane of half-words."""
    load = "ldrsb" if source.type.signed else "ldrb"
    return dsp.helper("dsp_gather", "gather", {"type": source.type.c_name, "load": load})


def lying(shape: tuple[int, ...], window: Window) -> tuple[tuple[int, ...], Window]:
    """The same convolution with a single column of an image laid down as its row."""
    if shape[1] != 1 or window.kernel[1] != 1 or window.pad[1] or window.pad[3]:
        return shape, window
    turned = Window(
        (1, window.kernel[0]), (1, window.stride[0]), (1, window.dilation[0]),
        (0, window.pad[0], 0, window.pad[2]),
    )  # fmt: skip
    return (1, shape[0], shape[2]), turned


def _phase(
    phase: int, phases: int, width: int, left: int, row_halves: int, start: int
) -> tuple[int, int, int, int]:
    """Which columns of the image make one phase of the plane, and where they go."""
    first = (phase - left) % phases
    count = max(0, -(-(width - first) // phases))
    return first, count, start + (first + left) // phases, row_halves - count


def plan(op: DepthwiseConv2d, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of any depthwise convolution."""
    source = inputs[0]
    (height, width, channels), window = lying(source.shape, op.window)
    rows, columns = window.out_hw((height, width))
    # where a channel has few outputs, taking codes apart would cost more than fewer bits gain
    weights = replace(op.weights, bits=8) if rows * columns < FEW_OUTPUTS else op.weights
    top, left, bottom, right = window.pad
    kernel_rows, kernel_columns = window.kernel
    taps = kernel_rows * kernel_columns
    phases = phases_of(window.stride[1], window.dilation[1], columns)
    dilation = window.dilation[1] // phases
    form = taps_form(kernel_columns, window.stride[1], dilation)
    # rows start at words
    row_halves = 2 * -(-(width + left + right) // (2 * phases))
    plane_halves = row_halves * (height + top + bottom)
    gather = gather_helper(source)
    rule = op.requant
    # the weights take the shift over where they stay half-words
    reach = int(np.abs(op.weights.values).max()) << rule.p
    shift = rule.p if reach <= HALF_MAX else 0
    constants = np.stack([rule.bias, rule.m << (32 - rule.s), rule.z], axis=1) % dsp.WORD
    pair_words = kernel_rows * form.words
    pairs, single = divmod(columns // phases, form.together)
    steps = {n: row_steps(form, kernel_columns, dilation, n)
             for n in sorted({form.together, *([1] if single else [])})}  # fmt: skip
    kernel_values: dict[str, object] = {
        "form": form,
        "steps": {n: tuple(f"{s[0]} {', '.join(s[1:])}" for s in row) for n, row in steps.items()},
        "straight": {n: is_straight(kernel_rows, len(row)) for n, row in steps.items()},
        "kernel_rows": kernel_rows,
        "kernel_columns": kernel_columns,
        "tap_halves": dilation,
        "next_tap_row": 2 * window.dilation[0] * row_halves,
        "next_output": 2 * window.stride[1],
        "next_row": 2 * window.stride[0] * row_halves,
        "pairs": pairs,
        "single": single,
        "columns": columns // phases,
        "rows": rows,
        "out_step": phases * output.shape[2],
        "out_bytes": rows * columns * output.shape[2],
        "out": output.type.c_name,
        "shift": rule.p - shift,
        **dsp.clamp_values(rule.lo, rule.hi),
    }
    kernel = dsp.helper("dsp_taps", f"taps{kernel_rows}x{kernel_columns}", kernel_values)
    values = {
        "gather": dsp.tag_of(gather),
        "tile": dsp.tag_of(kernel),
        "out_channels": output.shape[2],
        "multiplier": output.shape[2] // channels,
        "step_bytes": phases * channels,
        "height": height,
        # of every phase: first column and columns of the image, first half-word, gap between rows
        "phases": tuple(
            _phase(q, phases, width, left, row_halves, q * plane_halves + top * row_halves)
            for q in range(phases)
        ),
        "channels": channels,
        "plane_halves": plane_halves,
        # a word may reach past the plane
        "fills": fills(phases * plane_halves + 4),
        "pad_word": op.pad_value % (1 << 16) * dsp_columns.EVERY_HALF,
        "pair_words": pair_words,
        "dense": form.mode == "dense",
        "kernel_rows": kernel_rows,
        "kernel_columns": kernel_columns,
        "row_taps": 2 * form.words // form.each,
        "bits": weights.bits,
        "step": weights.step << shift,
        "offset": weights.offset << shift,
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
        ("dsp_guard", ()), ("dsp_finish", ()), ("dsp_fill", ()), gather, ("unpack", unpack), kernel
    )  # fmt: skip
    scratch = 4 * pair_words + 16 * fills(phases * plane_halves + 4)
    proofs = (*op.proof(inputs), f"shifted weights up to {reach} <= {HALF_MAX}")
    return CPlan(
        "depthwise_any", values, arrays, helpers, scratch, proofs if shift else op.proof(inputs)
    )
