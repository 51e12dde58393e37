# SPDX-License-Identifier: Apache-2.0
"""How the kernels without DSP count their work: by the form that their planners choose.

What runs in assembly is counted in instructions (`thumb_costs`, `thumb_choice`, `thumb_planes`), so
its price in a table is near 1 and forms share it; what the compiler makes is counted in calls,
rows and elements. ``multiply`` tells forms apart in cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import ceil

from .edges import Pad, Pair, Shape, edges
from .thumb_choice import (
    CHANNEL,
    FILLED,
    choose_conv,
    choose_linear,
    filled,
    goes_by_plane,
    row_passes,
)
from .thumb_core import CORES, Core
from .thumb_costs import PIXELS
from .thumb_forms import FieldsShape, Grid, LanesShape, padded_depth, usual_grid
from .thumb_planes import BOTH, Plane, plane_of
from .work import SPECIAL, Work, inside

SMALL = 4
"""Taps of a pool that get a pointer each."""
CALL = {True: 60, False: 25}
"""Instructions of a kernel around the channels of four pixels, by whether there is Thumb-1 only."""
TAP, WORD, OUTSIDE = 16.0, 4.0, 1.5
"""Instructions around a tap that is read alone; to write a word of a plane; to write padding."""


def _counted(features: Mapping[str, float]) -> dict[str, int]:
    return {name: round(count) for name, count in features.items() if count}


def _multiplies(form: FieldsShape | LanesShape, depth: int) -> int:
    """Multiplies of one channel and four pixels."""
    if isinstance(form, LanesShape):
        return 2 * form.groups(depth) * form.group
    return PIXELS * form.multiplies(depth)


def _weight_bytes(core: Core, form: FieldsShape | LanesShape, outputs: int, depth: int) -> int:
    """Flash of the packed weights of one group."""
    if isinstance(form, LanesShape):
        together = core.together(form.group)
        rows = ceil(outputs / together) * together
        return rows * form.groups(depth) * form.group
    return form.weight_bytes(outputs, depth)


def conv2d(
    core: Core, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair,
    pad: Pad, groups: int, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work:  # fmt: skip
    """Work of a convolution: arguments of `conv2d_work`."""
    if groups == 1 and kernel == in_shape[:2] and not any(pad):
        size = in_shape[0] * in_shape[1] * in_shape[2]
        rows = linear(core, size, out_shape[2], weight_bits, act_bits, act_signed)
        return replace(rows, kind="conv2d", form="whole")
    grid = usual_grid(weight_bits, act_bits, act_signed)
    depth, outputs = in_shape[2] // groups, out_shape[2] // groups
    tapwise = kernel[1] > 1 and (dilation[1] > 1 or groups > 1)
    runs, run = (kernel[0] * kernel[1], depth) if tapwise else (kernel[0], kernel[1] * depth)
    pixels = out_shape[0] * out_shape[1]
    if groups == in_shape[2]:
        plane = plane_of(in_shape[:2], out_shape[:2], kernel, stride, dilation, pad)
        if goes_by_plane(core, grid, plane, pixels, groups, outputs, runs, run):
            planes = depthwise(
                core, in_shape, out_shape, kernel, stride, dilation, pad, weight_bits, act_bits,
                act_signed,
            )  # fmt: skip
            assert planes is not None
            return _by_plane(planes)
    form = choose_conv(core, grid, outputs, runs, run)
    tiles, column = ceil(pixels / PIXELS) * groups, padded_depth(core, form, runs, run)
    touching, crossing = edges(
        in_shape[:2], out_shape[:2], kernel, stride, dilation, pad, PIXELS
    )
    reading = core.costs.reading(core, form, runs, run, act_signed) + TAP * runs * tapwise
    channels = core.costs.passed(core, form, outputs)
    features = {
        "kernel": tiles * (channels * form.cost(core, column) + CALL[core.thumb1]),
        "multiply": tiles * outputs * _multiplies(form, column),
        "result": tiles * PIXELS * outputs,
        "read": tiles * reading,
        "run": tiles * runs,
        "tile": tiles,
        "edge_tile": touching * groups,
        "edge_run": touching * runs * groups,
        "edge_row": 0 if tapwise else crossing,
        "edge_byte": 0 if tapwise else crossing * kernel[1] * in_shape[2],
        "layer": 1,
    }
    return Work(
        "conv2d", weight_bits, act_bits, act_signed, _counted(features),
        macs=pixels * out_shape[2] * kernel[0] * kernel[1] * depth,
        form="grouped" if groups > 1 else "border" if any(pad) else "inside",
        stored={
            "byte": groups * _weight_bytes(core, form, outputs, column),
            "channel": out_shape[2], "layer": 1,
        },
    )  # fmt: skip


def _by_plane(work: Work) -> Work:
    """The work of a depthwise layer as that of a convolution; few layers go this way."""
    done = work.features
    around = CHANNEL * done["channel"] + OUTSIDE * done["plane"] + 2 * WORD * done.get("edge", 0)
    features = {
        "kernel": done["kernel"],
        "multiply": done["multiply"],
        "result": done["result"],
        "read": done.get("fill", 0) + around,
        "layer": 1,
    }
    return replace(work, kind="conv2d", features=_counted(features), form="plane")


def linear(
    core: Core, inputs: int, outputs: int, weight_bits: int, act_bits: int, act_signed: bool
) -> Work:
    """Work of a fully connected layer."""
    grid = usual_grid(weight_bits, act_bits, act_signed)
    form = choose_linear(core, grid, outputs, inputs)
    if form is None:
        kernel, copied = core.costs.rows(outputs, inputs), core.costs.copy(1, inputs, act_signed)
        multiplies = size = row_passes(core, outputs) * inputs
    else:
        words = ceil(form.multiplies(inputs) / form.fields)
        kernel = row_passes(core, outputs) * form.row_cost(core, inputs)
        copied = core.costs.copy(form.span, inputs, act_signed) + FILLED * filled(form, inputs)
        multiplies, size = outputs * words * form.fields, 4 * outputs * words
    return Work(
        "linear", weight_bits, act_bits, act_signed,
        _counted({
            "kernel": kernel + copied, "multiply": multiplies, "result": outputs, "layer": 1,
        }),
        macs=inputs * outputs, form="rows" if form is None else "fields",
        stored={"byte": size, "channel": outputs, "layer": 1},
    )  # fmt: skip


def _code_bytes(core: Core, plane: Plane, bits: int) -> int:
    """Flash of one channel's depthwise weights."""
    if core.byte_taps:
        return plane.taps
    width = bits + (bits == 1)
    halves = ceil(plane.taps / (16 // width))
    return min(2 * halves, plane.taps)


def _filling(
    core: Core, plane: Plane, inputs: int, grid: Grid, how: Pair, stored: int
) -> dict[str, float]:
    """Features of the gather of all channels."""
    if plane.paired(core, inputs, grid.act_low, how):
        fill = inputs / 2 * plane.pair_fill_cost(core, stored, grid.act_low)
        # compiled loops have prices of their own
        return {"fill" if core.assembly else "pair_fill": fill, "plane": 2 * plane.words}
    rows, words = plane.edge_words()
    return {
        "fill": inputs * plane.fill_cost(core, how[1]),
        "edge": inputs * words,
        "edge_row": inputs * rows,
        "edge_part": inputs * sum(kind != BOTH for kind, _, _, _ in plane.segments),
        "plane": plane.words,
    }


def depthwise(
    core: Core, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, dilation: Pair,
    pad: Pad, weight_bits: int, act_bits: int, act_signed: bool,
) -> Work | None:  # fmt: skip
    """Work of a depthwise convolution; None for what is left to the portable kernel."""
    plane = plane_of(in_shape[:2], out_shape[:2], kernel, stride, dilation, pad)
    if not plane.fits(core):
        return None
    channels, inputs = out_shape[2], in_shape[2]
    grid = usual_grid(weight_bits, act_bits, act_signed)
    group, centre = how = plane.taps_group(core, grid, inputs)
    pairs = plane.rows * plane.columns
    stored = plane.stored_centre(core, inputs, grid.act_low, how)
    filling = _filling(core, plane, inputs, grid, how, stored)
    features = {
        "kernel": channels * plane.kernel_cost(core, group, stored != centre),
        "multiply": channels * pairs * plane.taps,
        "result": channels * pairs * 2,
        **filling,
        "code": channels * plane.taps,
        "channel": channels,
        "layer": 1,
    }
    return Work(
        "depthwise_conv2d", weight_bits, act_bits, act_signed, _counted(features),
        macs=out_shape[0] * out_shape[1] * channels * plane.taps,
        form="border" if any(pad) else "inside",
        stored={
            "byte": channels * _code_bytes(core, plane, weight_bits), "channel": channels,
            "part": len(plane.segments), "layer": 1,
        },
    )  # fmt: skip


def pool2d(
    kind: str, in_shape: Shape, out_shape: Shape, kernel: Pair, stride: Pair, pad: Pad,
    act_bits: int, act_signed: bool,
) -> Work:  # fmt: skip
    """Work of a pool: windows of few taps channel by channel, others four channels at a time."""
    pixels, channels = out_shape[0] * out_shape[1], out_shape[2]
    taps = kernel[0] * kernel[1]
    rows = inside(in_shape[0], out_shape[0], kernel[0], stride[0], 1, pad[0])
    columns = inside(in_shape[1], out_shape[1], kernel[1], stride[1], 1, pad[1])
    # where windows are as wide as the image their rows are one; a border brings other loops
    whole = kernel[1] == in_shape[1] and not any(pad)
    form = "border" if any(pad) else "whole" if whole else "inside"
    if taps <= SMALL and not any(pad):
        form = "small"
        features = {"small_tap": pixels * channels * taps, "small_output": pixels * channels}
    else:
        features = {}
        for name, count in (("quad", channels // 4), ("single", channels % 4)):
            features |= {
                f"{form}_{name}": count * pixels,
                f"{form}_{name}_row": 0 if whole else count * rows * out_shape[1],
                f"{form}_{name}_tap": count * rows * columns,
            }
    features |= {f"{form}_pixel": pixels, "layer": 1}
    return Work(kind, 0, act_bits, act_signed, _counted(features), form=form)


for _name, _core in CORES.items():
    SPECIAL[_name, "conv2d"] = partial(conv2d, _core)
    SPECIAL[_name, "linear"] = partial(linear, _core)
    SPECIAL[_name, "depthwise_conv2d"] = partial(depthwise, _core)
    SPECIAL[_name, "maxpool2d"] = partial(pool2d, "maxpool2d")
    SPECIAL[_name, "avgpool2d"] = partial(pool2d, "avgpool2d")
