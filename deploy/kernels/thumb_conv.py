# SPDX-License-Identifier: Apache-2.0
"""Plans conv2d for cores without DSP: four pixels at a time, columns gathered into packed words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...hw_models.thumb_core import Core
from ...hw_models.thumb_forms import gathers_lefts, padded_depth
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d
from ..requant import Requant
from .thumb_choice import choose
from .thumb_forms import LANE_MAX, LANE_MIN, PIXELS, Fields, Form, Lanes, group_range
from .thumb_pack import (
    field_weights,
    lane_weights,
    lefts_last,
    multiplier_is_signed,
    pad_runs,
    records,
    z_varies,
    zero_points,
)
from .thumb_spread import quads, spread_helper

APART: Helper = ("thumb_apart", ())
"""Keeps the functions that layers share as they are."""
T_SIGNED_LIMIT = (1 << 31) - (1 << 15)
"""Bound of |t| below which the ARMv6-M sequence for signed multipliers is exact."""


def plan_conv2d(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a convolution, or None where the portable kernel serves it."""
    assert isinstance(op, Conv2d)
    if not requant_fits(core, op, inputs):
        return None
    source = inputs[0]
    tapwise, runs, run = reading(op, source)
    outputs = output.shape[2] // op.groups
    form = choose(core, op.weights, source.type, runs, run, outputs)
    return conv_plan(core, form, op, source, output, run, not tapwise)


def reading(op: Conv2d, source: TensorInfo) -> tuple[bool, int, int]:
    """(whether taps are read one by one, adjacent pieces of a column, activations of a piece)."""
    (kernel_y, kernel_x), depth = op.window.kernel, source.shape[2] // op.groups
    tapwise = kernel_x > 1 and (op.window.dilation[1] > 1 or op.groups > 1)
    return (True, kernel_y * kernel_x, depth) if tapwise else (False, kernel_y, kernel_x * depth)


def conv_plan(
    core: Core, form: Form, op: Conv2d, source: TensorInfo, output: TensorInfo, run: int,
    contiguous: bool,
) -> CPlan:  # fmt: skip
    """The plan of a convolution in a given form."""
    pixels = output.shape[0] * output.shape[1]
    advance = PIXELS if pixels >= PIXELS else 1
    padded = any(op.window.pad)
    (kernel_y, kernel_x), (stride_y, stride_x) = op.window.kernel, op.window.stride
    (dilation_y, dilation_x), channels = op.window.dilation, source.shape[2]
    outputs = output.shape[2] // op.groups
    runs = op.weights.rows().shape[1] // run
    lefts = gathers_lefts(core, form, runs, run)
    layout = column_layout(core, form, padded_depth(core, form, runs, run))
    whole_bytes = 4 * PIXELS * (run // form.unit)
    if lefts:
        layout["tail_words"] = PIXELS * (run % form.unit)
    sums = form.offset != 0
    early = sums and form.step == 1 and form.form == "fields"
    shift = op.requant.p + (form.step == 2)
    if core.shifts and isinstance(form, Lanes):
        form, shift = shifted(form, shift, source)
    rule = requant_literals(core, op.requant, shift, late=sums and not early)
    kernel = kernel_helper(core, form, rule, early)
    spread = spread_helper(core, form, source, sums, run, lefts)
    geometry = {
        **layout, "pixels": pixels, "advance": advance, "out_width": output.shape[1],
        "out_channels": output.shape[2], "pixel_stride": output.shape[2] if advance > 1 else 0,
        "outputs": outputs, "last_y": (pixels - PIXELS) // output.shape[1],
        "last_x": (pixels - PIXELS) % output.shape[1],
        "run": run, "height": source.shape[0], "width": source.shape[1],
        "line": source.shape[1] * channels, "channels": channels, "kernel_y": kernel_y,
        "kernel_x": kernel_x, "stride_y": stride_y, "stride_x": stride_x,
        "dilation_y": dilation_y, "dilation_x": dilation_x,
        "row_step": dilation_y * source.shape[1] * channels, "tap_step": dilation_x * channels,
        "room_y": source.shape[0] - (kernel_y - 1) * dilation_y,
        "room_x": source.shape[1] - (kernel_x - 1) * dilation_x,
        "pad_top": op.window.pad[0], "pad_left": op.window.pad[1], "pad_value": op.pad_value,
        "offset": form.offset, "pixel_shift": 0 if early else op.requant.p,
        **({"left_at": runs * whole_bytes, "left_step": whole_bytes - 1} if lefts else {}),
    }  # fmt: skip
    driver = driver_helper(source.type.c_name, tuple(geometry), padded, contiguous, sums, lefts)
    copy: tuple[Helper, ...] = (
        (("thumb_copy", (("act", source.type.c_name),)),) if padded and contiguous else ()
    )
    numbers = tuple(value & 0xFFFFFFFF for value in geometry.values())
    weights = weight_array(core, form, run, op.groups, lefts=lefts)
    return CPlan(
        "conv2d",
        {
            "driver": ident_of(driver), "spread": ident_of(spread),
            "kernel_ident": ident_of(kernel), "first_weight": first_weight(core, form, outputs),
            "groups": op.groups, "run": run, "outputs": outputs, "record": rule["record"],
            "group_weights": len(weights.values) // op.groups,
        },
        (
            weights,
            records(op.requant, extra_bias(form, op), core),
            CArray("g", "uint32_t", numbers, "geometry, in the order of the function it goes to"),
        ),
        (APART, *rule_helpers(core, op.requant), *copy, ("thumb_job", ()), spread, kernel, driver),
        4 * layout["column_words"] + padded * ((PIXELS + 1) if contiguous else 1) * run,
        (*op.proof([source]), *form.proof()),
    )  # fmt: skip


def shifted(form: Lanes, shift: int, source: TensorInfo) -> tuple[Lanes, int]:
    """(form whose weights carry the left shift of the results, 0), or both as given."""
    codes = form.codes.astype(np.int64) << shift
    ends = (source.type.lo - form.centre, source.type.hi - form.centre)
    low, high = group_range(codes, form.group, *ends)
    if shift == 0 or codes.min() < -128 or codes.max() > 127 or low <= LANE_MIN or high > LANE_MAX:
        return form, shift
    reach = max(-low, high)
    return replace(form, codes=codes.astype(np.int8), scale=shift, biased=False, reach=reach), 0


def driver_helper(
    act: str, names: tuple[str, ...], padded: bool, contiguous: bool, sums: bool, lefts: bool
) -> Helper:
    """The shared function that walks over the pixels of convolutions of one kind."""
    flags = "".join(
        letter
        for letter, used in zip("pdcl", (padded, not contiguous, sums, lefts), strict=True)
        if used
    )
    values = {
        "act": act, "padded": padded, "contiguous": contiguous, "sums": sums,
        "lefts": lefts, "index": {name: i for i, name in enumerate(names)},
        "ident": f"conv_{act[0]}{flags}",
    }  # fmt: skip
    return "thumb_conv", (("k", values),)


def ident_of(helper: Helper) -> str:
    """Identifier of a shared function, without the model's prefix."""
    return str(dict(helper[1])["k"]["ident"])


def requant_fits(core: Core, op: Any, inputs: Sequence[TensorInfo]) -> bool:
    """Whether the kernels' requantisation is exact for this layer."""
    if op.out_type.container_bits != 8 or inputs[0].type.container_bits != 8:
        return False
    if op.requant.hi - op.requant.lo > 255:
        return False
    low, high = op.accumulator(inputs[0].type)
    bound = op.requant.t_bound(low, high)
    return not (core.thumb1 and multiplier_is_signed(op.requant)) or bound < T_SIGNED_LIMIT


def column_layout(core: Core, form: Form, padded: int) -> dict[str, int]:
    """Length of the column and where the unrolled loop is entered, for ``padded`` activations."""
    if isinstance(form, Lanes):
        groups, unroll = form.groups(padded), form.unroll(core)
        words = 2 * groups * form.group
        return {
            "column_words": words,
            "tail_words": words - 2 * padded,
            "entry": -groups % unroll * form.body_bytes(core),
            "skip": 0,
            "word": 0 if core.thumb1 else (-groups * 0x8000) & 0xFFFFFFFF,
        }
    skip = -form.multiplies(padded) % form.unrolled
    word = skip // form.fields
    load, multiply, out = (6, 22, 32) if core.thumb1 else (4, 24, 24)
    return {
        "column_words": PIXELS * form.multiplies(padded),
        "tail_words": 0,
        "entry": (word + 1) * load + skip * multiply + skip // form.block * out,
        "skip": skip,
        "word": form.mask,
    }


def requant_literals(core: Core, requant: Requant, shift: int, *, late: bool) -> dict[str, Any]:
    """What the requantisation prints."""
    varies, signed = z_varies(requant, core), multiplier_is_signed(requant)
    span = requant.hi - requant.lo
    return {
        "thumb1": core.thumb1,
        "shift": shift,
        "late": late,
        "signed_m": signed and core.thumb1,
        "z_varies": varies,
        "z": 0 if varies else int(zero_points(requant, core)[0]),
        "range": span,
        "bits": span.bit_length() if span & (span + 1) == 0 else 0,
        "lo": requant.lo,
        "ssat": requant.lo == -requant.hi - 1 and not varies and int(requant.z[0]) >= 0,
        "record": 2 + varies + (signed and core.thumb1),
    }


def rule_helpers(core: Core, requant: Requant) -> tuple[Helper, ...]:
    """The portable functions that the C twins call."""
    if not core.thumb1:
        return (("thumb_mulhi", ()),)
    return (("thumb_rule_signed" if multiplier_is_signed(requant) else "thumb_rule", ()),)


def kernel_helper(core: Core, form: Form, record: dict[str, Any], early: bool) -> Helper:
    """The shared function that computes all channels of four pixels."""
    values: dict[str, Any] = {"q": record}
    if isinstance(form, Lanes):
        values |= {"group": form.group, "biased": form.biased, "unroll": form.unroll(core),
                   "together": core.together(form.group)}
        shape = f"g{form.group}{'b' if form.biased else ''}"
    else:
        values |= {
            "span": form.span, "spacing": form.spacing, "slot": form.slot, "mask": form.mask,
            "fields": form.fields, "words": form.words, "block": form.block, "early": early,
            "shifts": form.shifts, "steps": form.steps, "doubled": int(form.doubled),
            "far": form.far(core),
        }  # fmt: skip
        shape = f"{form.tag}{'e' if early else ''}"
    values["ident"] = f"{form.form}_{shape}_{record_tag(record)}"
    return f"thumb_{form.form}_{core.name}", (("k", values),)


def record_tag(record: dict[str, Any]) -> str:
    """A piece of an identifier that differs wherever the requantisation differs."""
    zero = "v" if record["z_varies"] else f"{'m' * (record['z'] < 0)}{abs(record['z'])}"
    lo = f"m{-record['lo']}" if record["lo"] < 0 else str(record["lo"])
    flags = ("l" if record["late"] else "") + ("n" if record["signed_m"] else "")
    return f"p{record['shift']}z{zero}r{record['range']}o{lo}{flags}"


def weight_array(
    core: Core, form: Form, run: int, groups: int = 1, *, lefts: bool = False
) -> CArray:
    """The packed weights of a form, group after group; ``lefts`` of the runs come last."""
    if isinstance(form, Lanes):
        return lane_weights(form, core, groups)
    if lefts:
        return field_weights(form, lefts_last(form.codes, run, form.unit))
    codes = pad_runs(form.codes, run, form.unit)
    if quads(core, form):
        width = codes.shape[1] // (form.codes.shape[1] // run)
        rows = codes.reshape(len(codes), -1, width)
        whole = run // 4 * 4
        first = rows[:, :, :whole].reshape(*rows.shape[:2], whole // 4, 4)[..., [0, 2, 1, 3]]
        codes = np.concatenate(
            [first.reshape(*rows.shape[:2], whole), rows[:, :, whole:]], axis=2
        ).reshape(len(codes), -1)
    return field_weights(form, codes)


def first_weight(core: Core, form: Form, outputs: int) -> int:
    """Index of the first channel's first weight."""
    return -outputs % 8 if isinstance(form, Lanes) and core.thumb1 else 0


def extra_bias(form: Form, op: Any) -> Any:
    """What centring the activations takes out of every accumulator, per channel."""
    centre = form.centre if isinstance(form, Lanes) else -form.shift_in
    values = op.weights.values.reshape(op.weights.values.shape[0], -1)
    if isinstance(form, Fields):
        # the sum of activations is taken after the shift, so the offset's share is in it
        return centre * values.sum(axis=1)
    # codes that carry a left shift mean the same weights
    return centre * (values - form.offset).sum(axis=1).astype(np.int64)
