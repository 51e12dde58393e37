# SPDX-License-Identifier: Apache-2.0
"""How the MVE kernels count their work; the shapes of their loops are those of `mve_geometry`."""

from __future__ import annotations

from dataclasses import replace

from .edges import edges
from .mve_geometry import (
    BLOCK,
    GROUP_COST,
    LANES,
    WIDE_COST,
    Gather,
    Pair,
    gather_of,
    in_blocks,
    is_long,
    rounds_of,
    steps_of,
    taps_of,
)
from .mve_storage import (
    CONSTANTS,
    CONV_TILE,
    ROWS_TILE,
    apart_cost,
    conv_storage,
    field_counts,
    linear_storage,
)
from .work import SPECIAL, Work, inside

Pad = tuple[int, int, int, int]
Shape = tuple[int, int, int]
FAMILY = "mve"
DIRECT_JOB, WINDOW_JOB, PLANES_JOB = 52, 120, 40
"""Bytes of the numbers of a layer that its shared driver reads."""


def _some(features: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in features.items() if count}


def _linear(
    inputs: int, outputs: int, weight_bits: int, act_bits: int, act_signed: bool
) -> Work:
    """Work of a fully connected layer."""
    steps, rounds = steps_of(inputs), rounds_of(steps_of(inputs))
    half = 1 <= outputs % 8 <= 4
    full = outputs // 8 if half else -(-outputs // 8)
    fields = linear_storage(steps, field_counts(weight_bits)).fields
    fours = 2 * full + half
    features = {
        "step": full * steps,
        "round": full * rounds,
        "tile": full,
        "half_step": half * steps,
        "half_round": half * rounds,
        "half_tile": int(half),
        "unmix": full * ROWS_TILE.mixed(fields),
        "half_unmix": half * ((3, 2)[fields == 2] if fields > 1 else 0),
        "column": steps,
        "layer": 1,
    }
    return Work(
        "linear", weight_bits, act_bits, act_signed, _some(features),
        const_bytes=fours * (4 * LANES * steps // fields + CONSTANTS),
        macs=inputs * outputs,
        form=f"{'looped' if rounds else 'straight'}_{'both' if half and full else 'one'}",
    )  # fmt: skip


def _estimate(rows: Work) -> int:
    """Instructions of a fully connected layer, as the one feature of the rare whole windows."""
    prices = {"step": ROWS_TILE.step, "tile": ROWS_TILE.around, "round": 2, "half_step": 9,
              "half_tile": 18, "half_round": 2, "column": 4, "layer": 30}  # fmt: skip
    return sum(prices.get(name, 1) * count for name, count in rows.features.items())


def _conv2d(
    in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad,
    groups: int, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work:  # fmt: skip
    """Work of a convolution."""
    if groups == 1 and kernel == in_shape[:2] and not any(pad):
        inputs = in_shape[0] * in_shape[1] * in_shape[2]
        rows = _linear(inputs, out_shape[2], weight_bits, act_bits, act_signed)
        return replace(rows, kind="conv2d", features={"whole": _estimate(rows)}, form="whole")
    depth, outputs = in_shape[2] // groups, out_shape[2] // groups
    apart = kernel[1] > 1 and (groups > 1 or dilation[1] > 1)
    runs, run = (kernel[0] * kernel[1], depth) if apart else (kernel[0], kernel[1] * depth)
    steps, fours = steps_of(runs * run), -(-outputs // 4)
    rounds = rounds_of(steps)
    pixels = out_shape[0] * out_shape[1]
    pairs = -(-pixels // 2) * groups
    values = in_shape[0] * in_shape[1] * in_shape[2] + pixels * out_shape[2]
    storage = conv_storage(steps, fours, -(-pixels // 2), groups, values, field_counts(weight_bits))
    fields, mixed = storage.fields, 0 if storage.apart else CONV_TILE.mixed(storage.fields)
    direct = kernel == (1, 1) and stride == (1, 1) and not any(pad)
    tiles = pairs * fours
    features = {
        "step": tiles * steps,
        "round": tiles * rounds,
        "tile": tiles,
        "long_tile": tiles * is_long(steps),
        "unmix": tiles * mixed,
        "apart": storage.apart * fours * apart_cost(steps, fields),
        "partial": tiles * (outputs % 4 != 0),
        "direct_pair" if direct else "pair": pairs,
        "layer": 1,
    }
    reading = "direct" if direct else "inside"
    if direct:
        features["direct_vector"] = pixels * groups * steps_of(run)
    elif apart:
        reading = "apart"
        taps = pixels * groups * runs
        features |= {"apart_tap": taps, "vector": taps * steps_of(run)}
    else:
        touching, crossing = edges(in_shape[:2], out_shape[:2], kernel, stride, dilation, pad, 1)
        within = inside(in_shape[0], out_shape[0], kernel[0], stride[0], dilation[0], pad[0])
        outside = (out_shape[0] * kernel[0] - within) * out_shape[1]
        reading = "border" if any(pad) else reading
        columns = pixels * groups - touching * groups
        features |= {
            "run": columns * runs,
            "vector": columns * runs * steps_of(run),
            "edge_column": touching * groups,
            "edge_run": (touching * runs - outside) * groups,
            "edge_vector": (touching * runs - outside) * groups * steps_of(run),
            "edge_cross": crossing * groups,
            "edge_outside": outside * groups,
            "edge_fill": outside * groups * steps_of(run),
        }
    size = "long" if is_long(steps) else "short"
    return Work(
        "conv2d", weight_bits, act_bits, act_signed, _some(features),
        const_bytes=groups * fours * (4 * LANES * steps // fields + CONSTANTS)
        + (DIRECT_JOB if direct else WINDOW_JOB),
        macs=pixels * out_shape[2] * runs * run,
        form=f"{reading}_{size}_{fields}{'_apart' * storage.apart}{'_partial' * (outputs % 4 > 0)}",
    )  # fmt: skip


def _gather(found: Gather, channels: int, planes: int) -> int:
    """Instructions of bringing every channel into its planes, counted from the loops.

    Tables measure few depthwise shapes, so what is known of the loops is not fitted.
    """
    if found.double:
        passes = found.rows // (1 + found.twice)
        moved = (4 + planes) * found.double * found.rows
        return channels * (moved + (2 + planes) * passes)
    if found.straight:
        row = (2 + planes) * found.straight + found.rest + 2 + planes
    else:
        row = (4 + planes) * -(-found.width // 8) + 4 + planes
    return channels * found.rows * row


def _depthwise(
    in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair, pad: Pad,
    weight_bits: int, act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a depthwise convolution, None for windows that are left to the portable kernel.

    Weights are taken to fit a byte: those of the zero-free grid of eight bits need three passes.
    """
    (height, image, channels), (rows, columns, outputs) = in_shape, out_shape
    gap = pad[1] + pad[3]
    blocks = in_blocks(out_shape, kernel, stride, dilation)
    share = "blocks"
    gap += -(image + gap) % 4 if blocks else 0
    width = image + gap
    plane = width * (height + pad[0] + pad[2])
    features = {"fill": (2 if blocks else 1) * steps_of(plane) * any(pad)}
    if blocks:
        features |= {
            "block": outputs * (rows // BLOCK) * (columns // BLOCK),
            "block_row": outputs * rows // BLOCK,
            "block_channel": outputs,
            "gather": _gather(gather_of(height, image, channels, gap), channels, 2),
        }
        record = 20
    else:
        taps = taps_of(out_shape, width, kernel, stride, dilation, 1)
        if taps is None:
            return None
        groups = outputs * taps.lines.count * taps.groups
        around = WIDE_COST if taps.wide else GROUP_COST
        features |= {
            "wide" if taps.wide else "group": groups * (around + taps.outputs * len(taps.steps)),
            "fetch": groups * taps.outputs // taps.share * len(taps.steps),
            "line": outputs * taps.lines.count,
            "channel": outputs,
            "gather": _gather(gather_of(height, image, channels, gap), channels, 1),
        }
        share = f"share{taps.share}{'_wide' * taps.wide}"
        several = len(taps.steps) > 1
        record = 8 + (LANES * len(taps.steps) if several else -(-len(taps.offsets) // 4) * 4)
    return Work(
        "depthwise_conv2d", weight_bits, act_bits, act_signed,
        _some({**features, "input": channels, "layer": 1}),
        const_bytes=record * outputs + (56 if blocks else 68) + PLANES_JOB,
        macs=rows * columns * outputs * kernel[0] * kernel[1],
        form=share,
    )  # fmt: skip


SPECIAL[FAMILY, "conv2d"] = _conv2d
SPECIAL[FAMILY, "linear"] = _linear
SPECIAL[FAMILY, "depthwise_conv2d"] = _depthwise
