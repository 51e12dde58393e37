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
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.weighted import Weights
from ..types import IntType
from .thumb_conv import ident_of, record_tag, requant_fits, requant_literals, rule_helpers
from .thumb_forms import LANE_MAX, LANE_MIN, Core, group_range
from .thumb_pack import records

TAPS_MAX = 25
REACH = 4092
"""Bytes that an added immediate of ARMv7-M covers."""
HIGH = ("r11", "r12", "lr")
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
    kernel = _kernel(core, op, rule, group, biased, width, out_width)
    plane = _plane(core, source, centre)
    array, packing = _weights(op.weights, kh * kw)
    geometry = {
        "taps": kh * kw, "multiplier": channels // source.shape[2], "out_channels": channels,
        "channels": source.shape[2], "height": source.shape[0],
        "line": source.shape[1] * source.shape[2],
        "apart": apart * source.shape[1] * source.shape[2], "apart_rows": apart,
        "pad_top": op.window.pad[0], "pad_left": op.window.pad[1], "rows": rows,
        "high": (out_height - rows) * out_width * channels, "plane_width": width,
        "plane_rows": height, "plane_words": width * height, "pad_word": pad * 65537,
        "columns": min(source.shape[1], width - op.window.pad[1]),
        "fixed_low": pad * 65536 - centre, "fixed_high": pad - centre * 65536,
        "advance": 4 * (width - kw), "back": -4 * ((kh - 1) * width + kw - sx),
        "row_bytes": 4 * out_width * sx, "line_bytes": 4 * width * sy,
        "code_bytes": packing.pop("row_bytes"), "zero": rule["z"],
    }  # fmt: skip
    driver = _driver(source, tuple(geometry), packing, rule)
    numbers = tuple(value & 0xFFFFFFFF for value in geometry.values())
    return CPlan(
        "depthwise_conv2d",
        {
            "driver": ident_of(driver), "plane": ident_of(plane), "kernel_ident": ident_of(kernel),
        },
        (
            array,
            records(op.requant, centre * values.sum(axis=1), core),
            CArray("g", "uint32_t", numbers, "geometry, in the order of the function it goes to"),
        ),
        (*rule_helpers(core, op.requant), ("thumb_plane_job", ()), plane, kernel, driver),
        4 * width * height,
        (
            *op.proof([source]),
            f"{group} taps of two rows are summed before the 16-bit lanes are split, activations"
            f" minus {centre}:",
            f"{low} <= sum <= {high}, within -32768..32767",
        ),
    )  # fmt: skip


def _driver(
    source: TensorInfo, names: tuple[str, ...], packing: dict[str, Any], rule: dict[str, Any]
) -> Helper:
    values = {
        "act": source.type.c_name, "taps_max": TAPS_MAX, "thumb1": rule["thumb1"],
        "signed_m": rule["signed_m"], "z_varies": rule["z_varies"], "record": rule["record"],
        "index": {name: i for i, name in enumerate(names)}, **packing,
    }  # fmt: skip
    tag = f"{'v' if rule['z_varies'] else ''}{'n' if rule['signed_m'] else ''}"
    if packing["packed"]:
        tag += f"b{packing['code_bits']}s{packing['step']}o{-packing['offset']}"
    values["ident"] = f"depthwise_{source.type.c_name[0]}{tag}".replace("-", "m")
    return "thumb_depthwise", (("k", values),)


def _kernel(
    core: Core, op: DepthwiseConv2d, rule: dict[str, Any], group: int, biased: bool, width: int,
    out_width: int,
) -> Helper:  # fmt: skip
    (kh, kw), (sy, sx) = op.window.kernel, op.window.stride
    taps = [_tap(index, kh, kw, width) for index in range(kh * kw)]
    high = HIGH[1:] if biased else HIGH
    values: dict[str, Any] = {
        "q": rule, "biased": biased, "stride": sx, "kernel_x": kw,
        "groups": [taps[i : i + group] for i in range(0, len(taps), group)],
        "weights": [
            {"high": high[i] if i < len(high) else "", "stack": 40 + 4 * (i - len(high))}
            for i in range(len(taps))
        ],
        "frame": 40 + 4 * max(0, len(taps) - len(high)),
    }  # fmt: skip
    name = f"taps_{kh}x{kw}x{sx}g{group}{'b' if biased else ''}"
    if not core.thumb1:
        # the additions to the plane's address are immediates
        row, line = 4 * out_width * sx, 4 * width * sy
        channels = op.weights.codes.shape[0]
        pitch = channels if channels <= 255 else 0
        values |= {
            "row_bytes": row, "line_bytes": line, "next_bytes": line - row,
            "back_bytes": 4 * ((kh - 1) * width + kw - sx), "weight_bytes": 4 * len(taps),
            "pitch": pitch,
        }  # fmt: skip
        name += f"s{sy}w{out_width}c{pitch}"
    values["ident"] = f"{name}_{record_tag(rule)}"
    return f"thumb_taps_{core.name}", (("k", values),)


def _tap(index: int, kh: int, kw: int, width: int) -> dict[str, Any]:
    y, x = divmod(index, kw)
    count = min(3, kw - x) if x % 3 == 0 else 0
    last = x == kw - 1
    return {
        "index": index,
        "x": x,
        "y": y,
        "load": ", ".join(f"r{1 + i}" for i in range(count)),
        "load_weights": ", ".join(f"r{4 + i}" for i in range(count)),
        "word": f"r{1 + x % 3}",
        "weight": f"r{4 + x % 3}",
        "after": ("r9" if y < kh - 1 else "r10") if last else "",
        "after_bytes": 4 * (width - kw) if last and y < kh - 1 else 0,
    }


def _plane(core: Core, source: TensorInfo, centre: int) -> Helper:
    tag = f"m{-centre}" if centre < 0 else str(centre)
    pitch = 0 if core.thumb1 else source.shape[2]
    values = {
        "act": source.type.c_name, "centre": centre, "words": (centre * 65537) & 0xFFFFFFFF,
        "pitch": pitch, "thumb1": core.thumb1,
        "load": "ldrsb" if source.type.signed else "ldrb",
        "ident": f"plane_{source.type.c_name[0]}{tag}{f'c{pitch}' if pitch else ''}",
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
