# SPDX-License-Identifier: Apache-2.0
"""Compact kernels of convolutions, fully connected layers and depthwise convolutions.

A fully connected layer is a convolution of one pixel, and both are one function of the emitted
file for all layers of one weight width. 8-bit weights that fit int8 are stored as values where the
core's loads sign-extend; all others are stored as codes, whose offset costs one sum of the column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...hw_models.work import GROUP, conv_is_direct, padded
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo, Window
from ..ops.conv2d import Conv2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.linear import Linear
from ..ops.weighted import Weights
from ..pack import code_expressions, pack_rows
from .compact_layer import RECORD_BYTES, Flavour, Layer, layer_helpers, rule_arrays
from .compact_order import order_proof, window_distance

BLOCK_OF_8_BITS = 4
"""8-bit weights are taken in fours, narrower ones in the groups of eight that fill whole bytes."""
SIGNED_OFFSET = -128
TILE = 4


def plan_conv(
    flavour: Flavour, lean: bool, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """Plan of a convolution or fully connected layer.

    Args:
        flavour: of the core.
        lean: whether the column must not be copied, so that no scratch memory is needed.
        op: the layer.
        inputs: its input.
        output: its result.
    """
    source: tuple[int, ...]
    result: tuple[int, ...]
    if isinstance(op, Linear):
        window, groups, pad_value = Window((1, 1)), 1, 0
        source, result = (1, 1, inputs[0].size), (1, 1, output.size)
    else:
        assert isinstance(op, Conv2d)
        window, groups, pad_value = op.window, op.groups, op.pad_value
        source, result = inputs[0].shape, output.shape
    arrays = rule_arrays(op.requant)
    if groups != 1 or arrays is None:
        return None
    weights, row = op.weights, op.weights.rows().shape[1]
    values = _as_values(flavour, weights)
    block = BLOCK_OF_8_BITS if weights.bits == 8 else GROUP
    blocks = -(-row // block)
    row_bytes = blocks * block * weights.bits // 8
    layer = Layer(
        source, result, window, op.requant, blocks, weights.step,
        weights.offset, pad_value,
    )  # fmt: skip
    fields = layer.fields(weights=True)
    if fields is None:
        return None
    direct = conv_is_direct(window.kernel, window.pad, groups, source[2]) or (
        isinstance(op, Linear) and row % GROUP == 0
    )
    direct = direct and row % block == 0
    lean = lean and not direct
    act = inputs[0].type
    tag = f"{'v' if values else 'w'}{weights.bits}{'s' if act.signed else 'u'}{'r' if lean else ''}"
    runs = lean and source[2] % block == 0 and window_in_runs(window, pad_value)
    function = "runs" if runs else "lean" if lean else "conv"
    if lean and not runs:
        helpers = _lean_helpers(flavour, weights, values, act.c_name, tag)
    else:
        helpers = _dot_helpers(flavour, function, weights.bits, values, act.c_name, tag)
    apart = window_distance(window, source, result, read_first=not (direct or lean))
    packed = _pack(weights.rows(), weights, values, row_bytes)
    return CPlan(
        "layer",
        {
            "fields": fields,
            "function": f"{function}_{tag}",
            "column": not (direct or lean),
            "direct": direct,
        },
        (packed, *arrays),
        helpers,
        0 if direct or lean else blocks * block,
        (*op.proof(inputs), order_proof(apart, "the input")),
        overlaps=(apart,),
        record_bytes=RECORD_BYTES,
    )


def plan_depthwise(
    flavour: Flavour, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """Plan of a depthwise convolution; None with a channel multiplier or pads that are not 0."""
    assert isinstance(op, DepthwiseConv2d)
    window, source, result = op.window, inputs[0].shape, output.shape
    arrays = rule_arrays(op.requant)
    if (
        arrays is None
        or result[2] != source[2]
        or window.dilation != (1, 1)
        or not pads_fit(window)
        or (any(window.pad) and op.pad_value)
    ):
        return None
    weights, act = op.weights, inputs[0].type
    values = weights.bits == 8 and weights.step == 1 and weights.offset == SIGNED_OFFSET
    four = values and source[2] >= TILE
    taps = weights.rows().T
    row_bytes = source[2] if four else padded(source[2]) // GROUP * weights.bits
    layer = Layer(
        source, result, window, op.requant, 0, weights.step, weights.offset
    )
    fields = layer.fields(weights=True)
    if fields is None:
        return None
    sign = "s" if act.signed else "u"
    tag = f"v8{sign}" if four else f"w{weights.bits}{sign}"
    if four:
        own: Helper = (
            "compact_depthwise4",
            (("tag", tag), ("act", act.c_name), ("simd", flavour.simd), ("extend", sign)),
        )
    else:
        codes = tuple(code_expressions(weights.bits, "w"))
        own = ("compact_depthwise8",
               (("tag", tag), ("act", act.c_name), ("bits", weights.bits),
                ("codes", codes)))  # fmt: skip
    apart = window_distance(window, source, result, read_first=False)
    return CPlan(
        "layer",
        {"fields": fields, "function": f"depthwise_{tag}", "column": False, "direct": False},
        (_pack(taps, weights, four, row_bytes), *arrays),
        layer_helpers(flavour, ("compact_window", ()), own),
        0,
        (*op.proof(inputs), order_proof(apart, "the input")),
        overlaps=(apart,),
        record_bytes=RECORD_BYTES,
    )


def pads_fit(window: Window) -> bool:
    """Whether every window holds at least one position of the image, whatever the image."""
    return all(pad < kernel for pad, kernel in zip(window.pad, window.kernel * 2, strict=True))


def window_in_runs(window: Window, pad_value: int) -> bool:
    """Whether what lies inside the image is runs of adjacent pixels, and nothing else counts."""
    # dilated windows are cut at the image's sides only where there is nothing to cut
    plain = window.dilation[1] == 1 and (window.dilation[0] == 1 or not any(window.pad))
    return plain and pads_fit(window) and not (any(window.pad) and pad_value)


def _as_values(flavour: Flavour, weights: Weights) -> bool:
    fits = weights.bits == 8 and weights.step == 1 and weights.offset == SIGNED_OFFSET
    return fits and flavour.values


def _pack(rows: np.ndarray, weights: Weights, values: bool, row_bytes: int) -> CArray:
    """Rows of codes, or of int8 values as bytes; what fills a row up is 0 in either form."""
    if values:
        data = np.zeros((rows.shape[0], row_bytes), np.uint8)
        data[:, : rows.shape[1]] = rows ^ 0x80
        note = f"{rows.shape[0]} rows of {rows.shape[1]} weights, signed bytes"
    else:
        data = pack_rows(rows, weights.bits)[:, :row_bytes]
        note = (
            f"{rows.shape[0]} rows of {rows.shape[1]} codes, {weights.bits} bits each, first code"
            f" lowest; weight = {weights.step}*code {'-' if weights.offset < 0 else '+'}"
            f" {abs(weights.offset)}"
        )
    return CArray("w", "uint8_t", tuple(int(v) for v in data.reshape(-1)), note)


def _dot_helpers(
    flavour: Flavour, function: str, bits: int, values: bool, act: str, tag: str
) -> tuple[Helper, ...]:
    simd = flavour.simd and values
    rows = tuple(range(4 if simd else 2))
    if bits == 8:
        cast = "(int32_t)(int8_t)" if values else "(int32_t)"
        one_row = [[f"{cast}w{row}[{k}]" for k in range(BLOCK_OF_8_BITS)] for row in rows]
    else:
        one_row = [code_expressions(bits, f"w{row}") for row in rows]
    codes = tuple(zip(*one_row, strict=True))
    shared: dict[str, object] = {
        "tag": tag, "act": act, "simd": simd, "bytes": len(codes) * bits // 8,
    }  # fmt: skip
    fields = _fields(bits) if flavour.simd and bits <= 4 else None
    dot = {**shared, "adds": function == "runs", "rows": rows, "codes": codes, "fields": fields,
           "extend": "s" if act == "int8_t" else "u"}  # fmt: skip
    conv = {**shared, "sums": not values, "block": len(codes), "tile": len(rows)}
    window: tuple[Helper, ...] = (("compact_window", ()),) if function == "runs" else ()
    return layer_helpers(
        flavour,
        *window,
        ("compact_dots", tuple(dot.items())),
        (f"compact_{function}", tuple(conv.items())),
    )


def _fields(bits: int) -> dict[str, object]:
    """How eight codes of 1 to 4 bits become four pairs of half-words.

    Codes 0 to 3 fill at most 16 bits, so one PKHBT puts code k + 4 16 bits above code k.
    """
    loads = {
        1: "w[0]",
        2: "(uint32_t)w[0] | ((uint32_t)w[1] << 8)",
        3: "(uint32_t)w[0] | ((uint32_t)w[1] << 8) | ((uint32_t)w[2] << 16)",
        4: "word(w)",
    }
    mask = ((1 << bits) - 1) * 0x10001
    return {"bits": bits, "load": loads[bits], "up": 16 - 4 * bits, "mask": mask}


def _lean_helpers(
    flavour: Flavour, weights: Weights, values: bool, act: str, tag: str
) -> tuple[Helper, ...]:
    bits = weights.bits
    lean = {"tag": tag, "act": act, "values": values, "bits": bits, "crossing": 8 % bits != 0,
            "mask": (1 << bits) - 1, "bytes": 4 if bits == 8 else bits}  # fmt: skip
    return layer_helpers(flavour, ("compact_lean", tuple(lean.items())))
