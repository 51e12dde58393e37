# SPDX-License-Identifier: Apache-2.0
"""Plans depthwise convolutions for cores without DSP: two output rows in the lanes of a word.

Per channel the image is gathered into a padded plane whose words hold a row and the row half an
output image further down, so that every tap serves two outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import window_values
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.weighted import Weights
from ..types import IntType
from .thumb_conv import record_tag, requant_fits, requant_literals, rule_helpers
from .thumb_forms import LANE_MAX, LANE_MIN, Core, group_range
from .thumb_pack import records

TAPS_MAX = 25
REACH = 4092
"""Bytes that an added immediate of ARMv7-M covers."""
HIGH = ("r9", "r10", "r11", "r12", "lr")
"""Registers that hold weights on ARMv6-M; the others stay on the stack."""


def plan_depthwise(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a depthwise convolution, or None where the portable kernel serves it."""
    assert isinstance(op, DepthwiseConv2d)
    window, source = op.window, inputs[0]
    (kh, kw), (sy, sx) = window.kernel, window.stride
    width = (output.shape[1] - 1) * sx + kw
    if (
        window.dilation != (1, 1) or kh * kw > TAPS_MAX or kw < sx
        or not requant_fits(core, op, inputs)
        or 4 * width * max(sy, kh) > REACH
    ):  # fmt: skip
        return None
    return depthwise_plan(core, op, source, output, best_group(op.weights, source.type, kh * kw))


def best_group(weights: Weights, source: IntType, taps: int) -> tuple[int, int]:
    """(taps summed before the lanes are split, centre of the activations), from the widths."""
    ends = (weights.offset, weights.offset + weights.step * ((1 << weights.bits) - 1))
    found = []
    for centre in {0, source.lo + (1 << (source.bits - 1)) - 1}:
        products = [w * (x - centre) for w in ends for x in (source.lo, source.hi)]
        low, high = min(products), max(products)
        group = taps
        while group * low < LANE_MIN or group * high > LANE_MAX:
            group -= 1
        if group:
            found.append((-(-taps // group), centre != 0, group, centre))
    best = min(found)
    return best[2], best[3]


def depthwise_plan(
    core: Core, op: DepthwiseConv2d, source: TensorInfo, output: TensorInfo, how: tuple[int, int]
) -> CPlan:
    """The plan of a depthwise convolution with given (group, centre)."""
    group, centre = how
    (kh, kw), (sy, sx) = op.window.kernel, op.window.stride
    out_height, out_width, channels = output.shape
    rows = (out_height + 1) // 2
    apart = (out_height - rows) * sy
    width, height = (out_width - 1) * sx + kw, (rows - 1) * sy + kh
    rule = requant_literals(core, op.requant, op.requant.p, late=False)
    values = op.weights.values.reshape(channels, -1)
    span = (source.type.lo - centre, source.type.hi - centre)
    low, high = group_range(values, group, *span)
    biased = low <= LANE_MIN
    pad = op.pad_value - centre
    taps = kh * kw
    kernel = _kernel(core, op, rule, group, biased, width, out_width)
    plane = _plane(source, centre)
    array, packing = _weights(op.weights, taps)
    filled = 4 * width * height
    columns = min(source.shape[1], width - op.window.pad[1])
    return CPlan(
        "depthwise_conv2d",
        {
            **window_values(op.window, source.shape, output.shape),
            **packing,
            "q": rule,
            "multiplier": channels // source.shape[2],
            "taps": taps,
            "rows": rows,
            "apart_rows": apart,
            "high": (out_height - rows) * out_width * channels,
            "plane_width": width,
            "plane_rows": height,
            "plane_words": width * height,
            "columns": columns,
            "pad_word": (pad * 65537) & 0xFFFFFFFF,
            "fixed_low": (pad * 65536 - centre) & 0xFFFFFFFF,
            "fixed_high": (pad - centre * 65536) & 0xFFFFFFFF,
            "plane": dict(plane[1])["k"]["ident"],
            "kernel_ident": dict(kernel[1])["k"]["ident"],
        },
        (array, records(op.requant, centre * values.sum(axis=1), core)),
        (*rule_helpers(core, op.requant), ("thumb_plane_job", ()), plane, kernel),
        filled,
        (
            *op.proof([source]),
            f"{group} taps of two rows are summed before the 16-bit lanes are split, activations"
            f" minus {centre}:",
            f"{low} <= sum <= {high}, within -32768..32767",
        ),
    )


def _kernel(
    core: Core, op: DepthwiseConv2d, rule: dict[str, Any], group: int, biased: bool, width: int,
    out_width: int,
) -> Helper:  # fmt: skip
    (kh, kw), (sy, sx) = op.window.kernel, op.window.stride
    taps = [_tap(index, kh, kw, width, sx) for index in range(kh * kw)]
    groups = [taps[i : i + group] for i in range(0, len(taps), group)]
    row, line = 4 * out_width * sx, 4 * width * sy
    channels = op.weights.codes.shape[0]
    pitch = channels if channels <= 255 and not core.thumb1 else 0
    back = 4 * ((kh - 1) * width + kw - sx)
    high = HIGH[1:] if biased else HIGH
    places = [
        {"high": high[i] if i < len(high) else "", "stack": 32 + 4 * (i - len(high))}
        for i in range(len(taps))
    ]
    values: dict[str, Any] = {
        "q": rule, "groups": groups, "biased": biased, "out_width": out_width, "stride": sx,
        "row_step": width * sy, "weights": places, "frame": 32 + 4 * max(0, len(taps) - len(high)),
        "row_pieces": pieces(row), "line_pieces": pieces(line), "next_pieces": pieces(line - row),
        "row_bytes": row, "line_bytes": line, "next_bytes": line - row, "back_bytes": back,
        "weight_bytes": 4 * len(taps), "far": True, "pitch": pitch,
        "ident": f"taps_{kh}x{kw}s{sy}x{sx}w{out_width}c{pitch}g{group}{'b' if biased else ''}_"
        f"{record_tag(rule)}",
    }  # fmt: skip
    return f"thumb_taps_{core.name}", (("k", values),)


def _tap(index: int, kh: int, kw: int, width: int, sx: int) -> dict[str, Any]:
    y, x = divmod(index, kw)
    count = min(3, kw - x) if x % 3 == 0 else 0
    after = 0
    if x == kw - 1:
        after = 4 * (width - kw) if y < kh - 1 else -4 * ((kh - 1) * width + kw - sx)
    return {
        "index": index,
        "place": y * width + x,
        "load": ", ".join(f"r{1 + i}" for i in range(count)),
        "load_weights": ", ".join(f"r{4 + i}" for i in range(count)),
        "word": f"r{1 + x % 3}",
        "weight": f"r{4 + x % 3}",
        "after": pieces(after),
        "after_bytes": max(0, after),
    }


def pieces(value: int) -> list[int]:
    """A sum of immediates that Thumb-1 can add."""
    sign = -1 if value < 0 else 1
    found = []
    left = abs(value)
    while left:
        found.append(sign * min(left, 252))
        left -= min(left, 252)
    return found


def _plane(source: TensorInfo, centre: int) -> Helper:
    tag = f"m{-centre}" if centre < 0 else str(centre)
    values = {
        "act": source.type.c_name, "centre": centre, "words": (centre * 65537) & 0xFFFFFFFF,
        "pitch": source.shape[2],
        "ident": f"plane_{'s' if source.type.signed else 'u'}{tag}c{source.shape[2]}",
    }  # fmt: skip
    return "thumb_plane", (("k", values),)


def _weights(weights: Weights, taps: int) -> tuple[CArray, dict[str, Any]]:
    """Codes in containers of 1, 2, 4 or 8 bits, every channel from a whole byte."""
    rows = weights.rows()
    ends = (weights.offset, weights.offset + weights.step * ((1 << weights.bits) - 1))
    bits = 1 << (weights.bits - 1).bit_length()
    per_byte = 8 // bits
    if per_byte == 1 and -128 <= ends[0] and ends[1] <= 127:
        data = weights.values.reshape(rows.shape)
        packing = {"code": "int8_t", "per_byte": 1, "row_bytes": taps}
        note = "weights, channel after channel"
    else:
        wide = np.pad(rows, ((0, 0), (0, -taps % per_byte))).astype(np.int64)
        wide = wide.reshape(len(rows), -1, per_byte)
        data = (wide << (np.arange(per_byte) * bits)).sum(axis=2)
        packing = {"code": "uint8_t", "per_byte": per_byte, "row_bytes": data.shape[1]}
        note = f"codes of {bits} bits, channel after channel"
    array = CArray("w", str(packing["code"]), tuple(int(v) for v in data.reshape(-1)), note)
    return array, packing | {
        "code_bits": bits, "code_mask": (1 << bits) - 1, "step": weights.step,
        "offset": weights.offset, "packed": note.startswith("codes"),
    }  # fmt: skip
