# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels count what goes by planes of one channel, and pools and requantisation."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from .plane_form import LARGEST_STEP, PLANES, band_rows, fills, plane_bands, plane_form, plane_loop
from .pool_form import LANES, pool_form
from .taps_form import is_straight, phases_of, row_steps, taps_form
from .work import GROUP, SPECIAL, UNROLLED_ELEMENTS, Work, padded

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
Shape = tuple[int, int, int]


def _counted(features: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in features.items() if count}


def _gather(rows: int, width: int, times: int, prefix: str = "") -> dict[str, int]:
    """Gathering so many rows, so many times: four values a pass, then one by one."""
    return {
        f"{prefix}gather4": times * rows * (width // 4),
        f"{prefix}gather1": times * rows * (width % 4),
        f"{prefix}gather_row": times * rows,
        f"{prefix}gather_rest": times * rows * (width % 4 > 0),
    }


def _plane_kernel(rows: int, columns: int, stride: int, times: int) -> dict[str, int]:
    """The 3x3 kernel over a plane, so many times."""
    loop = plane_loop(columns)
    way = "" if stride == 1 else "strided_"
    looped = loop.iterations > 1
    return {
        f"{way}pair": times * rows * (columns // 2),
        "single": times * rows * loop.single,
        "pass": times * rows * (loop.iterations if looped else 0),
        "looped_row": times * rows * looped,
        "row": times * rows,
    }


def one_channel_work(
    in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad,
    weight_bits: int, act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a 3x3 convolution of one input channel; None for all others."""
    form = plane_form(in_shape, kernel, stride, dilation, pad)
    if form is None or in_shape[2] != 1:
        return None
    rows, columns, outputs = out_shape
    band = band_rows(rows)
    bands = rows // band
    plane_rows = (band - 1) * stride[0] + kernel[0]
    read = sum(
        0 <= b * band * stride[0] + r - pad[0] < in_shape[0]
        for b in range(bands)
        for r in range(plane_rows)
    )
    # the same kernels, so it has the prices of a depthwise convolution
    features = {
        **_plane_kernel(band, columns, stride[1], bands * outputs),
        **_gather(1, in_shape[1], read),
        "band_read": read,
        "band_outside": (bands * plane_rows - read) * in_shape[1],
        "band_row": bands * plane_rows,
        "band": bands,
        "fill": fills(form.row_bytes // 2 * plane_rows + 4),
        "band_channel": bands * outputs,
        "layer": 1,
    }
    del features["gather_row"]
    return Work(
        "depthwise_conv2d", weight_bits, act_bits, act_signed, _counted(features),
        macs=rows * columns * outputs * 9,
        form="bands",
        stored={"channel": outputs, "layer": 1},
    )  # fmt: skip


def _depthwise(
    in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad,
    weight_bits: int, act_bits: int, act_signed: bool,
) -> Work:  # fmt: skip
    """Work of a depthwise convolution."""
    (height, width, channels), (rows, columns, outputs) = in_shape, out_shape
    form = plane_form(in_shape, kernel, stride, dilation, pad)
    place = "border" if any(pad) else "inside"
    if form is None:
        features = _any(in_shape, out_shape, kernel, stride, dilation, pad)
        place = f"any_{place}"
    elif form.planes == PLANES:
        bands = plane_bands(form, height, rows, stride[0], pad)
        count, times = len(bands.bands), -(-channels // PLANES)
        features = {
            **_plane_kernel(bands.rows, columns, stride[1], count * outputs),
            **_gather(sum(band.rows for band in bands.bands), width, times, "four_"),
            "split_single": form.split * count * bands.rows * outputs * (columns % 2),
            "fill": count * fills(bands.halves),
            "four_channel": count * times,
            "channel": count * outputs,
            "far_store": count * bands.rows * columns * outputs * (outputs > LARGEST_STEP),
            "layer": 1,
        }
    else:
        two = form.planes == 2
        times = -(-channels // 2) if two else channels
        features = {
            **_plane_kernel(rows, columns, stride[1], outputs),
            **_gather(height, width, times, "two_" if two else ""),
            "fill": fills(form.halves),
            "two_channel" if two else "gathered": times,
            "channel": outputs,
            "far_store": rows * columns * outputs * (outputs > LARGEST_STEP),
            "layer": 1,
        }
    return Work(
        "depthwise_conv2d", weight_bits, act_bits, act_signed, _counted(features),
        macs=rows * columns * outputs * kernel[0] * kernel[1],
        form=place,
        stored={"any_code": outputs * padded(kernel[0] * kernel[1]), "any_channel": outputs,
                "layer": 1} if form is None else {"channel": outputs, "layer": 1},
    )  # fmt: skip


def _any(
    in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad
) -> dict[str, int]:
    """Loops of a depthwise convolution of any window."""
    (height, width, channels), (rows, columns, outputs) = in_shape, out_shape
    if width == 1 and kernel[1] == 1 and not pad[1] and not pad[3]:
        kernel, stride, dilation = (1, kernel[0]), (1, stride[0]), (1, dilation[0])
        height, width, rows, columns = 1, height, 1, rows
        pad = (0, pad[0], 0, pad[2])
    phases = phases_of(stride[1], dilation[1], columns)
    apart = dilation[1] // phases
    form = taps_form(kernel[1], stride[1], apart)
    columns //= phases
    pairs, single = divmod(columns, form.together)
    steps = [len(row_steps(form, kernel[1], apart, n)) for n in (form.together, 1)]
    calls = phases * outputs
    loops = [0 if is_straight(kernel[0], n) else kernel[0] for n in steps]
    gathers = [
        _gather(height, -(-(width - (q - pad[1]) % phases) // phases), channels)
        for q in range(phases)
    ]
    row_halves = 2 * -(-(width + pad[1] + pad[3]) // (2 * phases))
    features = {
        # instructions of the kernel rows; a multiply or a load each
        "any_step": calls * rows * kernel[0] * (pairs * (steps[0] + 1) + single * (steps[1] + 1)),
        "any_loop": calls * rows * (pairs * loops[0] + single * loops[1]),
        "any_pair" if form.together == 2 else "any_single": calls * rows * pairs,
        "any_pass": calls * rows * pairs * (pairs > 1),
        "any_row": calls * rows,
        "any_call": calls,
        "any_block": outputs * padded(kernel[0] * kernel[1]) // GROUP,
        f"any_{form.mode if form.mode == 'dense' else 'other'}_word":
            outputs * kernel[0] * form.words // form.each,
        "any_kernel_row": outputs * kernel[0],
        "fill": fills(phases * row_halves * (height + pad[0] + pad[2]) + 4),
        "any_channel": outputs,
        "layer": 1,
    }
    if single:
        features["any_single"] = features.get("any_single", 0) + calls * rows * single
    for gather in gathers:
        for name, count in gather.items():
            features[name] = features.get(name, 0) + count
    features["gathered"] = phases * channels
    return features


@cache
def _windows(in_hw: Pair, out_hw: Pair, kernel: Pair, stride: Pair, pad: Pad) -> tuple[int, ...]:
    """(windows inside, others, rows of the others, positions of the others)."""
    counts = []
    for a in (0, 1):
        start = np.arange(out_hw[a]) * stride[a] - pad[a]
        counts.append(np.minimum(start + kernel[a], in_hw[a]) - np.maximum(start, 0))
    rows, columns = np.broadcast_arrays(counts[0][:, None], counts[1])
    whole = (rows == kernel[0]) & (columns == kernel[1])
    return (int(whole.sum()), int((~whole).sum()), int(rows[~whole].sum()),
            int((rows * columns)[~whole].sum()))  # fmt: skip


def _pool(
    kind: str, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, pad: Pad,
    act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a pool; None for what the portable kernel takes."""
    taps, channels = kernel[0] * kernel[1], in_shape[2]
    # sums of so many codes fit a half-word
    limit = (1 << 15) >> (act_bits - 1) if act_signed else ((1 << 16) - 1) // ((1 << act_bits) - 1)
    if channels < LANES or (kind == "avgpool2d" and taps > limit):
        return None
    form = pool_form(in_shape[:2], kernel, pad)
    whole, others, rows, positions = _windows(in_shape[:2], out_shape[:2], kernel, stride, pad)
    words = -(-channels // LANES)
    if not (form.straight and min(in_shape[0] - kernel[0], in_shape[1] - kernel[1]) >= 0):
        row = 1 if form.whole else kernel[0]
        whole, others, rows, positions = (
            0, others + whole, rows + whole * row, positions + whole * taps
        )  # fmt: skip
    # compilers drop the loops of one round
    alone = ("lone_" if words == 1 else "") + ("global_" if whole + others == 1 else "")
    straight = f"{alone}edge_" if any(pad) else alone
    loop = f"loop_{'whole_' if form.whole else ''}{'lone_' if words == 1 else ''}"
    features = {
        f"{straight}tap": whole * words * taps,
        f"{straight}word": whole * words,
        f"{straight}pixel": whole,
        "overlap": (whole + others) * words * (channels % LANES > 0),
        f"{loop}tap": others and words * positions,
        f"{loop}pass": words * positions // form.unrolled,
        f"{loop}row": 0 if form.whole else words * rows,
        f"{loop}word": words * others,
        f"{loop}pixel": others,
        "pixel_row": out_shape[0],
        "layer": 1,
    }
    place = "border" if any(pad) else f"straight{taps}" if whole else "loop"
    return Work(kind, 0, act_bits, act_signed, _counted(features), form=f"words_{place}")


def _requantize(
    elements: int, inputs: int, channels: int, act_bits: int, act_signed: bool
) -> Work:
    """Work of a requantisation per channel."""
    whole, left = divmod(elements // channels, UNROLLED_ELEMENTS)
    way = "looped_" if whole > 1 else "straight_" if whole else ""
    features = {
        f"{way}pass": channels * whole,
        "left": channels * left,
        f"{way}channel": channels,
        "layer": 1,
    }
    return Work("requantize", 0, act_bits, act_signed, _counted(features),
                stored={"channel": channels})  # fmt: skip


SPECIAL["dsp", "depthwise_conv2d"] = _depthwise
SPECIAL["dsp", "requantize"] = _requantize
for _kind in ("maxpool2d", "avgpool2d"):
    SPECIAL["dsp", _kind] = partial(_pool, _kind)
