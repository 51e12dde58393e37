# SPDX-License-Identifier: Apache-2.0
"""Plans conv2d for cores without DSP: four pixels at a time, columns gathered into packed words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.conv2d import Conv2d
from ..requant import Requant
from .thumb_choice import choose
from .thumb_forms import PIXELS, Core, Fields, Form, Lanes
from .thumb_pack import (
    field_weights,
    lane_weights,
    multiplier_is_signed,
    pad_runs,
    records,
    z_varies,
)

T_SIGNED_LIMIT = (1 << 31) - (1 << 15)
"""Bound of |t| below which the ARMv6-M sequence for signed multipliers is exact."""
FAR = 240
"""Bytes that a conditional Thumb-1 branch surely reaches."""


def plan_conv2d(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a convolution, or None where the portable kernel serves it."""
    assert isinstance(op, Conv2d)
    if op.groups != 1 or not requant_fits(core, op, inputs):
        return None
    window, source = op.window, inputs[0]
    depth = op.weights.rows().shape[1]
    contiguous = window.dilation[1] == 1 or window.kernel[1] == 1
    run = window.kernel[1] * source.shape[2]
    form = choose(core, op.weights, source.type, depth, run)
    return conv_plan(core, form, op, source, output, run, contiguous)


def conv_plan(
    core: Core, form: Form, op: Conv2d, source: TensorInfo, output: TensorInfo, run: int,
    contiguous: bool,
) -> CPlan:  # fmt: skip
    """The plan of a convolution in a given form."""
    pixels = output.shape[0] * output.shape[1]
    advance = PIXELS if pixels >= PIXELS else 1
    padded = any(op.window.pad)
    edges = padded or not contiguous
    (kernel_y, kernel_x), (stride_y, stride_x) = op.window.kernel, op.window.stride
    layout = column_layout(core, form, kernel_y * (-(-run // form.unit) * form.unit))
    sums = form.offset != 0
    early = sums and form.step == 1 and form.form == "fields"
    shift = op.requant.p + (form.step == 2)
    rule = requant_literals(core, op.requant, shift, late=sums and not early)
    kernel = kernel_helper(core, form, rule, early)
    spread = spread_helper(core, form, source, sums, run)
    geometry = {
        **layout, "pixels": pixels, "advance": advance, "out_width": output.shape[1],
        "out_channels": output.shape[2], "pixel_stride": output.shape[2] if advance > 1 else 0,
        "last_y": (pixels - PIXELS) // output.shape[1],
        "last_x": (pixels - PIXELS) % output.shape[1],
        "run": run, "channels": source.shape[2], "width": source.shape[1],
        "height": source.shape[0], "kernel_y": kernel_y, "kernel_x": kernel_x,
        "stride_y": stride_y, "stride_x": stride_x, "dilation_y": op.window.dilation[0],
        "dilation_x": op.window.dilation[1], "pad_top": op.window.pad[0],
        "pad_left": op.window.pad[1], "pad_value": op.pad_value, "offset": form.offset,
        "pixel_shift": 0 if early else op.requant.p,
    }  # fmt: skip
    driver = driver_helper(source.type.c_name, tuple(geometry), padded, contiguous, sums)
    copy: tuple[Helper, ...] = (("thumb_copy", (("act", source.type.c_name),)),) if edges else ()
    numbers = tuple(value & 0xFFFFFFFF for value in geometry.values())
    return CPlan(
        "conv2d",
        {
            "driver": ident_of(driver), "spread": ident_of(spread),
            "kernel_ident": ident_of(kernel), "first_weight": first_weight(core, form),
        },
        (
            weight_array(core, form, run),
            records(op.requant, extra_bias(form, op), core),
            CArray("g", "uint32_t", numbers, "geometry, in the order of the function it goes to"),
        ),
        (*rule_helpers(core, op.requant), *copy, ("thumb_job", ()), spread, kernel, driver),
        4 * layout["column_words"] + edges * (PIXELS + 1) * run,
        (*op.proof([source]), *form.proof()),
    )  # fmt: skip


def driver_helper(
    act: str, names: tuple[str, ...], padded: bool, contiguous: bool, sums: bool
) -> Helper:
    """The shared function that walks over the pixels of convolutions of one kind."""
    flags = f"{'p' if padded else ''}{'' if contiguous else 'd'}{'c' if sums else ''}"
    values = {
        "act": act, "padded": padded, "contiguous": contiguous, "sums": sums,
        "edges": padded or not contiguous, "index": {name: i for i, name in enumerate(names)},
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
    skip = -form.multiplies(padded) % form.block
    word, field = divmod(skip, form.fields)
    load, multiply = (6, 22) if core.thumb1 else (4, 24)
    return {
        "column_words": PIXELS * form.multiplies(padded),
        "tail_words": 0,
        "entry": word * (load + form.fields * multiply) + load + field * multiply,
        "skip": skip,
        "word": form.mask,
    }


def requant_literals(core: Core, requant: Requant, shift: int, *, late: bool) -> dict[str, Any]:
    """What the requantisation prints."""
    varies, signed = z_varies(requant), multiplier_is_signed(requant)
    span = requant.hi - requant.lo
    return {
        "thumb1": core.thumb1,
        "shift": shift,
        "late": late,
        "signed_m": signed and core.thumb1,
        "z_varies": varies,
        "z": 0 if varies else int(requant.z[0]) - requant.lo,
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
        values |= {"group": form.group, "biased": form.biased, "unroll": form.unroll(core)}
        shape = f"g{form.group}{'b' if form.biased else ''}"
    else:
        values |= {
            "span": form.span, "spacing": form.spacing, "slot": form.slot, "mask": form.mask,
            "fields": form.fields, "words": form.words, "block": form.block, "early": early,
            "shifts": form.shifts, "doubled": int(form.doubled),
            "far": form.words * (6 + 22 * form.fields) + 60 > FAR,
        }  # fmt: skip
        shape = f"{form.tag}{'e' if early else ''}"
    values["ident"] = f"{form.form}_{shape}_{record_tag(record)}"
    return f"thumb_{form.form}_{core.name}", (("k", values),)


def record_tag(record: dict[str, Any]) -> str:
    """A piece of an identifier that differs wherever the requantisation differs."""
    zero = "v" if record["z_varies"] else str(record["z"])
    lo = f"m{-record['lo']}" if record["lo"] < 0 else str(record["lo"])
    flags = ("l" if record["late"] else "") + ("n" if record["signed_m"] else "")
    return f"p{record['shift']}z{zero}r{record['range']}o{lo}{flags}"


def spread_helper(core: Core, form: Form, source: TensorInfo, sums: bool, run: int) -> Helper:
    """The shared function that writes column words."""
    act, tails = source.type.c_name, run % form.unit != 0
    tag = f"{'s' if source.type.signed else 'u'}{'t' if tails else ''}{'c' if sums else ''}"
    values: dict[str, Any] = {
        "act": act, "sums": sums, "tails": tails, "thumb1": core.thumb1, "asm": not sums,
    }  # fmt: skip
    if isinstance(form, Lanes):
        tag += f"m{-form.centre}" if form.centre < 0 else str(form.centre)
        words = (form.centre * 65537) & 0xFFFFFFFF
        values |= {
            "centre": form.centre, "words": words, "minus": -words & 0xFFFFFFFF,
            "load": "ldrsb" if source.type.signed else "ldrb",
        }  # fmt: skip
    else:
        quad = quads(core, form, run)
        digits = sum(1 << (form.spacing * i) for i in range(form.span))
        lane = min(form.spacing, 16)
        # the assembly adds whole words up; their lanes must not overflow
        fits = not sums or run // form.span * form.top < 1 << lane
        used = quad or form.shift_in
        values |= {
            "span": form.span, "spacing": form.spacing, "shift_in": form.shift_in, "quad": quad,
            "step": 4 if quad else form.span, "asm": fits and (core.thumb1 or run % 4 == 0),
            "asm_step": 8 if core.thumb1 else 4, "use_mask": bool(used),
            "mask": digits * (form.top if not quad or form.shift_in else 255),
            "half": digits * form.shift_in,
        }  # fmt: skip
        tag += f"{form.span}p{form.shift_in}{'q' if quad else ''}{'a' if values['asm'] else ''}"
        tag += f"t{form.top}" if used and form.shift_in else ""
    values["ident"] = f"spread_{form.form}_{tag}"
    return f"thumb_spread_{form.form}", (("k", values),)


def quads(core: Core, form: Form, run: int) -> bool:
    """Whether column words pair activations 0, 2 and 1, 3 of four, as two masks of a word do."""
    return not core.thumb1 and form.unit == 2 and run % 4 == 0


def weight_array(core: Core, form: Form, run: int) -> Any:
    """The packed weights of a form."""
    if isinstance(form, Lanes):
        return lane_weights(form, core)
    codes = pad_runs(form.codes, run, form.unit)
    if quads(core, form, run):
        codes = codes.reshape(len(codes), -1, 4)[:, :, [0, 2, 1, 3]].reshape(len(codes), -1)
    return field_weights(form, codes)


def first_weight(core: Core, form: Form) -> int:
    """Index of the first channel's first weight."""
    return -form.codes.shape[0] % 8 if isinstance(form, Lanes) and core.thumb1 else 0


def extra_bias(form: Form, op: Any) -> Any:
    """What centring the activations takes out of every accumulator, per channel."""
    centre = form.centre if isinstance(form, Lanes) else -form.shift_in
    values = op.weights.values.reshape(op.weights.values.shape[0], -1)
    if isinstance(form, Fields):
        # the sum of activations is taken after the shift, so the offset's share is in it
        return centre * values.sum(axis=1)
    return centre * (values - form.offset).sum(axis=1).astype(np.int64)
