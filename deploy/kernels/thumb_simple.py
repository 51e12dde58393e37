# SPDX-License-Identifier: Apache-2.0
"""Plans operators without weights for cores without DSP: sums of two tensors, and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...hw_models.thumb_core import Core
from ..ops.add import Add
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.pool2d import AvgPool2d, MaxPool2d
from .thumb_conv import APART

UNROLLED = 4
SMALL = 4
"""Taps of a pool that get a pointer each."""
ADDED_MAX = 255
"""Largest number that an instruction of ARMv6-M adds."""


def plan_add(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a sum of two tensors, or None where the portable kernel serves it."""
    assert isinstance(op, Add)
    rule = op.requant
    span = rule.hi - rule.lo
    if len(inputs) != 2 or any(info.type.container_bits != 8 for info in (*inputs, output)):
        return None
    if span > 255 or (not core.thumb1 and span & (span + 1)):
        return None
    bound = rule.bound([(info.type.lo, info.type.hi) for info in inputs])
    constant = rule.bias + (1 << (rule.s - 1))
    # the clamp of ARMv6-M starts from its upper end
    zero = rule.z - (rule.hi if core.thumb1 else rule.lo)
    # the zero point goes through the shift where that cannot overflow
    if bound + (abs(zero) << rule.s) < 1 << 31:
        constant, zero = constant + (zero << rule.s), 0
    if abs(zero) > 255:
        return None
    extra = (zero != 0) + (rule.lo != 0)
    size = 2 * (14 + extra) if core.thumb1 else 4 * (6 + (zero != 0) + extra)
    numbers = (*rule.m, constant, output.size, -output.size % UNROLLED * size)
    loads = tuple("ldrsb" if info.type.signed else "ldrb" for info in inputs)
    acts = tuple(info.type.c_name for info in inputs)
    values: dict[str, Any] = {
        "core": core.name, "s": rule.s, "z": zero, "lo": rule.lo, "range": span,
        "bits": span.bit_length(), "loads": loads, "acts": acts,
    }  # fmt: skip
    signs = f"{'n' * (zero < 0)}{'m' * (rule.lo < 0)}"
    values["ident"] = (
        f"add_{acts[0][0]}{acts[1][0]}s{rule.s}z{abs(zero)}r{span}o{signs}{abs(rule.lo)}"
    )
    helper: Helper = ("thumb_add", (("k", values),))
    array = CArray(
        "g", "uint32_t", tuple(number & 0xFFFFFFFF for number in numbers),
        "multipliers, constant, elements, where the loop is entered",
    )  # fmt: skip
    proof = tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs))
    return CPlan("add", {"kernel_ident": values["ident"]}, (array,), (APART, helper), 0, proof)


def plan_pool(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a pool, or None where the portable kernel serves it."""
    assert isinstance(op, AvgPool2d | MaxPool2d)
    if inputs[0].type.container_bits != 8:
        return None
    plan = op.c_plan(inputs, output)
    taps = op.window.kernel[0] * op.window.kernel[1]
    padded = any(op.window.pad)
    small = taps <= SMALL and not padded
    more: dict[str, Any] = {
        "average": isinstance(op, AvgPool2d),
        # ARMv7-M chooses between two numbers without a branch
        "thumb1": core.thumb1,
        "mulhi": not core.assembly,
        "branchless": core.thumb1 or not core.assembly,
        "small": small,
        "far": core.thumb1 and not small and output.shape[2] > ADDED_MAX,
    }
    if op.window.kernel[1] == inputs[0].shape[1] and not padded:
        more["kernel"] = (1, taps)  # the rows of a window follow each other without a gap
    # others limit the code where it is used, without branches
    helpers = tuple(h for h in plan.helpers if not (more["branchless"] and h[0] == "clamp"))
    if not core.assembly:
        helpers = (("thumb_mulhi", ()),) if more["average"] else ()
    return replace(plan, values={**plan.values, **more}, helpers=helpers)
