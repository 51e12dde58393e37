# SPDX-License-Identifier: Apache-2.0
"""Plans depthwise convolutions for cores without DSP: two output rows in the lanes of a word.

Per channel the image is gathered into a padded plane whose words hold a row and the row half an
output image further down, so that every tap serves two outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...hw_models.thumb_core import Core
from ...hw_models.thumb_planes import HIGH, Plane, plane_of
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo, Window
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.weighted import Weights
from .thumb_conv import APART, ident_of, record_tag, requant_fits, requant_literals, rule_helpers
from .thumb_fill import PART_WORDS, Fill, fill_of
from .thumb_forms import LANE_MAX, LANE_MIN, grid_of, group_range
from .thumb_pack import records


def plan_depthwise(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a depthwise convolution, or None where the portable kernel serves it."""
    assert isinstance(op, DepthwiseConv2d)
    source = inputs[0]
    if not requant_fits(core, op, inputs):
        return None
    plane = geometry_of(op.window, source.shape, output.shape)
    if not plane.fits(core):
        return None
    how = plane.taps_group(core, grid_of(op.weights, source.type), source.shape[2])
    return depthwise_plan(core, op, source, output, how)


def geometry_of(window: Window, source: tuple[int, ...], output: tuple[int, ...]) -> Plane:
    """The plane of a channel."""
    return plane_of(
        (source[0], source[1]), (output[0], output[1]), window.kernel, window.stride,
        window.dilation, window.pad,
    )  # fmt: skip


def depthwise_plan(
    core: Core, op: DepthwiseConv2d, source: TensorInfo, output: TensorInfo, how: tuple[int, int]
) -> CPlan:
    """The plan of a depthwise convolution with given (group, centre)."""
    group, centre = how
    plane = geometry_of(op.window, source.shape, output.shape)
    channels = output.shape[2]
    values = op.weights.values.reshape(channels, -1)
    span = (source.type.lo - centre, source.type.hi - centre)
    low, high = group_range(values, group, *span)
    # where the lanes have room the weights carry the left shift of the results
    scale = op.requant.p if core.shifts else 0
    if not (LANE_MIN < low << scale and high << scale <= LANE_MAX):
        scale = 0
    if core.byte_taps and np.abs(values << scale).max(initial=0) > LANE_MAX >> 8:
        # no longer bytes: taps are shifted as they are unpacked, where these are fewer
        scale = scale if plane.rows * plane.columns > plane.taps else 0
    low, high = low << scale, high << scale
    rule = requant_literals(core, op.requant, op.requant.p - scale, late=False)
    # one group is split by its lower half alone
    biased = low <= LANE_MIN and group < plane.taps
    paired = plane.paired(core, source.shape[2], source.type.lo, how)
    stored = plane.stored_centre(core, source.shape[2], source.type.lo, how)
    kernel = _kernel(core, op, rule, group, biased, plane, stored - centre)
    fill = fill_of(core, source, stored, op.pad_value, plane, paired)
    words = -(-fill.words // 4) * 4  # four at a time get what lies outside
    if core.byte_taps:
        array, packing = _byte_weights(values, scale)
    else:
        array, packing = _weights(op.weights, plane.taps, scale)
    geometry = {
        "multiplier": channels // source.shape[2], "out_channels": channels,
        "rows": plane.rows, "high": plane.high_pixels * channels, "plane_words": words,
        "pad_word": (op.pad_value - stored) * 65537,
        "advance": 4 * (plane.tap_row - plane.read), "back": plane.back,
        "row_bytes": 4 * plane.columns * plane.step_x, "line_bytes": 4 * plane.step_y,
        "width": plane.width, "zero": rule["z"],
        "segments": len(plane.segments), **fill.numbers,
    }  # fmt: skip
    driver = _driver(source, tuple(geometry), packing, rule, plane, fill)
    numbers = tuple(value & 0xFFFFFFFF for value in (*geometry.values(), *fill.parts))
    return CPlan(
        "depthwise_conv2d",
        {
            "driver": ident_of(driver), "plane": ident_of(fill.helper), "paired": fill.paired,
            "edges": fill.edges, "kernel_ident": ident_of(kernel),
        },
        (
            array,
            records(op.requant, centre * values.sum(axis=1), core),
            CArray("g", "uint32_t", numbers,
                   "geometry, in the order of the function it goes to, then parts of a plane"),
        ),
        (APART, *rule_helpers(core, op.requant), ("thumb_plane_job", ()), fill.helper, kernel,
         driver),
        4 * words,
        (
            *op.proof([source]),
            f"{group} taps of two rows are summed before the 16-bit lanes are split, activations"
            f" minus {centre}:",
            f"{low} <= sum <= {high}, within -32768..32767",
        ),
    )  # fmt: skip


def _driver(
    source: TensorInfo, names: tuple[str, ...], packing: dict[str, Any], rule: dict[str, Any],
    plane: Plane, fill: Fill,
) -> Helper:  # fmt: skip
    flat, taps = plane.flat, plane.taps
    values = {
        "act": source.type.c_name, "taps": taps, "paired": fill.paired, "edges": fill.edges,
        "part": PART_WORDS[fill.paired], "thumb1": rule["thumb1"], "signed_m": rule["signed_m"],
        "z_varies": rule["z_varies"], "record": rule["record"],
        "index": {name: i for i, name in enumerate(names)}, **packing, "flat": flat,
    }  # fmt: skip
    pairs = f"p{'e' if fill.edges else ''}" if fill.paired else ""
    tag = f"{'f' if flat else ''}{pairs}"
    tag += f"{'v' if rule['z_varies'] else ''}{'n' if rule['signed_m'] else ''}"
    tag += f"t{taps}b{packing['bits']}"
    tag += f"s{packing['scale']}" if packing["scale"] else ""
    values["ident"] = f"depthwise_{source.type.c_name[0]}{tag}"
    return "thumb_depthwise", (("k", values),)


def _kernel(
    core: Core, op: DepthwiseConv2d, rule: dict[str, Any], group: int, biased: bool, plane: Plane,
    moved: int,
) -> Helper:  # fmt: skip
    (kh, kw), (dy, dx) = plane.kernel, plane.dilation
    taps = [_tap(index, plane) for index in range(kh * kw)]
    values: dict[str, Any] = {
        "q": rule, "biased": biased, "stride": plane.step_x, "width": plane.width,
        "groups": [taps[i : i + group] for i in range(0, len(taps), group)],
        # what every weight is multiplied by besides, in both lanes: groups start at that
        "moved": moved * 65537 & 0xFFFFFFFF,
    }  # fmt: skip
    groups = len(values["groups"]) if moved else 0
    name = f"taps_{kh}x{kw}x{plane.step_x}g{group}{'b' if biased else ''}"
    name += f"m{moved & 0xFFFF}" if moved else ""
    name += f"d{dy}x{dx}" if plane.dilation != (1, 1) else ""
    if core.thumb1:
        # registers for starts first: from the stack these take an instruction more, weights none
        places = _places(HIGH[1:] if biased else HIGH, groups + len(taps))
        values |= {
            "start": moved, "starts": places[:groups], "weights": places[groups:],
            "frame": places[-1]["stack"] + 4,
        }  # fmt: skip
    else:
        values["starts"] = groups - 1 if moved else 0
        # the additions to the plane's address are immediates
        row, line = 4 * plane.columns * plane.step_x, 4 * plane.step_y
        channels = op.weights.codes.shape[0]
        pitch = channels if channels <= 255 else 0
        values |= {
            "row_bytes": row, "line_bytes": line, "next_bytes": line - row,
            "back_bytes": -plane.back, "weight_bytes": 4 * len(taps), "pitch": pitch,
        }  # fmt: skip
        name += f"s{plane.step_y}w{plane.width}o{plane.columns}c{pitch}"
    values["ident"] = f"{name}_{record_tag(rule)}"
    return f"thumb_taps_{core.name}", (("k", values),)


def _places(high: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Where ARMv6-M keeps so many words: in these registers, then on the stack."""
    return [
        {"high": high[i] if i < len(high) else "", "stack": 40 + 4 * max(-1, i - len(high))}
        for i in range(count)
    ]


def _tap(index: int, plane: Plane) -> dict[str, Any]:
    (kh, kw), (dy, dx) = plane.kernel, plane.dilation
    y, x = divmod(index, kw)
    count = min(3, kw - x) if x % 3 == 0 else 0
    last = x == kw - 1
    return {
        "index": index,
        "at": x * dx,
        "row": y * dy,
        "load": "" if dx > 1 else ", ".join(f"r{1 + i}" for i in range(count)),
        "alone": 4 * x * dx if dx > 1 else None,
        "load_weights": ", ".join(f"r{4 + i}" for i in range(count)),
        "word": f"r{1 + x % 3}",
        "weight": f"r{4 + x % 3}",
        "after": ("r9" if y < kh - 1 else "r10") if last else "",
        "after_bytes": 4 * (plane.tap_row - plane.read) if last and y < kh - 1 else 0,
    }


def _byte_weights(
    values: NDArray[np.int64], scale: int
) -> tuple[CArray, dict[str, Any]]:
    """Weights of every channel: a byte each, if they fit; where they fit with it, shifted."""
    stored = values << scale
    if np.abs(stored).max(initial=0) > LANE_MAX >> 8:
        stored = values
    else:
        scale = 0
    bits = 8 if -128 <= stored.min(initial=0) and stored.max(initial=0) <= 127 else 16
    packing = {"code": f"int{bits}_t", "each": 1, "bits": bits, "units": values.shape[1]}
    note = "weights, channel after channel" + ("" if stored is values else ", times a power of 2")
    data = tuple(int(v) for v in stored.reshape(-1))
    return CArray("w", f"int{bits}_t", data, note), packing | {"scale": scale}


def _weights(weights: Weights, taps: int, scale: int) -> tuple[CArray, dict[str, Any]]:
    """Weights of every channel: signed fields in half-words where these are smaller than bytes."""
    values = weights.values.reshape(weights.codes.shape[0], -1)
    low = weights.offset
    high = low + weights.step * ((1 << weights.bits) - 1)
    bits = max(low.bit_length() if low >= 0 else (-low - 1).bit_length(), high.bit_length()) + 1
    each = 16 // bits
    halves = -(-taps // each)
    if bits <= 8 and 2 * halves >= taps:
        packing = {"code": "int8_t", "each": 1, "bits": 8, "units": taps}
        data, note = values, "weights, channel after channel"
    elif bits > 8:
        packing = {"code": "int16_t", "each": 1, "bits": 16, "units": taps}
        data, note = values, "weights, channel after channel"
    else:
        packing = {"code": "uint16_t", "each": each, "bits": bits, "units": halves}
        wide = np.pad(values, ((0, 0), (0, halves * each - taps))) & ((1 << bits) - 1)
        data = (wide.reshape(len(values), halves, each) << (np.arange(each) * bits)).sum(axis=2)
        note = f"signed weights of {bits} bits, {each} in a half-word, channel after channel"
    array = CArray("w", str(packing["code"]), tuple(int(v) for v in data.reshape(-1)), note)
    return array, packing | {"scale": scale}
