# SPDX-License-Identifier: Apache-2.0
"""Sums, requantisation, pools and concatenation on cores with MVE: loops over channels.

All loops are tail-predicated (WLSTP, LETP), which GCC 12 does not generate: any number of channels
takes whole vectors and one partial one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ops.add import Add
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.concat import Concat
from ..ops.conv2d import window_values
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.requantize import Requantize
from . import mve_packing as mve

_TWINS: tuple[Helper, ...] = (("mve_guard", ()), ("mve_finish", ()))


def plan_add(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a sum of two tensors; None for more."""
    assert isinstance(op, Add)
    if len(inputs) != 2:
        return None
    rule = op.requant
    values: dict[str, object] = {
        "types": tuple(info.type.c_name for info in inputs),
        "loads": tuple(_load(info) for info in inputs),
        "bias": rule.bias,
        "s": rule.s,
        "zero": rule.z,
        "out": output.type.c_name,
        **mve.clamp_values(rule.lo, rule.hi),
    }
    kernel = mve.helper("mve_add", "add", values)
    proofs = tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs))
    return CPlan(
        "add",
        {"kernel": mve.tag_of(kernel), "m": rule.m, "elements": output.size},
        (),
        (("mve_guard", ()), kernel),
        0,
        proofs,
    )


def plan_requantize(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a requantisation per channel."""
    assert isinstance(op, Requantize)
    rule = op.requant
    channels = output.shape[-1]
    filled = -(-channels // 4) * 4
    columns = [rule.bias, rule.m << (32 - rule.s)]
    if mve.same_zero(rule) is None:
        columns.append(rule.z)
    constants = np.zeros((len(columns), filled), np.int64)
    constants[:, :channels] = np.stack(columns)
    words = (constants % mve.WORD).reshape(len(columns), -1, 4).transpose(1, 0, 2).reshape(-1)
    values: dict[str, object] = {
        "type": inputs[0].type.c_name,
        "load": _load(inputs[0]),
        "p": rule.p,
        "out": output.type.c_name,
        **mve.requant_values(rule),
    }
    kernel = mve.helper("mve_requantize", "requantize", values)
    return CPlan(
        "requantize",
        {"kernel": mve.tag_of(kernel), "pixels": output.size // channels, "channels": channels},
        (CArray("c", "uint32_t", tuple(words.tolist()), "bias, M, zero point of four channels"),),
        (*_TWINS, kernel),
        0,
        tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs)),
    )


def plan_maxpool(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a maximum over windows."""
    assert isinstance(op, MaxPool2d)
    type_ = inputs[0].type
    values: dict[str, object] = {
        "type": type_.c_name,
        "signed": type_.signed,
        "lowest": type_.lo,
    }
    kernel = mve.helper("mve_maximum", "maximum", values)
    window = window_values(op.window, inputs[0].shape, output.shape)
    return CPlan(
        "pool2d",
        {**window, "kernel_function": mve.tag_of(kernel), "average": False, "pad_value": 0},
        (),
        (("mve_guard", ()), kernel),
    )


def plan_avgpool(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of an average over windows; None where a window may lie outside the image."""
    assert isinstance(op, AvgPool2d)
    rule, pad, sides = op.requant, op.window.pad, op.window.kernel
    if max(pad[0], pad[2]) >= sides[0] or max(pad[1], pad[3]) >= sides[1]:
        return None
    values: dict[str, object] = {
        "type": inputs[0].type.c_name,
        "load": _load(inputs[0]),
        "p": rule.p,
        "bias": int(rule.bias[0]) % mve.WORD,
        "m": int(rule.m[0] << (32 - rule.s[0])) % mve.WORD,
        "out": output.type.c_name,
        **mve.requant_values(rule),
    }
    kernel = mve.helper("mve_average", "average", values)
    window = window_values(op.window, inputs[0].shape, output.shape)
    return CPlan(
        "pool2d",
        {
            **window,
            "kernel_function": mve.tag_of(kernel),
            "average": True,
            "pad_value": op.pad_value,
        },
        (),
        (*_TWINS, kernel),
        0,
        tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs)),
    )


def plan_concat(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a concatenation along the channels."""
    assert isinstance(op, Concat)
    plain = op.c_plan(inputs, output)
    return CPlan("concat", plain.values, (), (("mve_guard", ()), ("mve_copy", ())))


def _load(info: TensorInfo) -> str:
    """The load that widens four codes to words."""
    return "vldrb.s32" if info.type.signed else "vldrb.u32"
