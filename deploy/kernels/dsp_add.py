# SPDX-License-Identifier: Apache-2.0
"""Sums of two tensors on cores with the DSP extension: two MLA and one shifting saturation."""

from __future__ import annotations

from collections.abc import Sequence

from ..ops.add import Add
from ..ops.base import CPlan, Op, TensorInfo
from . import dsp_packing as dsp

UNROLLED = 4


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a sum of two tensors; None for more."""
    assert isinstance(op, Add)
    if len(inputs) != 2:
        return None
    rule = op.requant
    bound = rule.bound([(info.type.lo, info.type.hi) for info in inputs])
    clamp = dsp.clamp_values(rule.lo, rule.hi)
    zero = rule.z - int(str(clamp["base"]))
    constant = rule.bias + (1 << (rule.s - 1))
    # the zero point goes through the shift where that cannot overflow
    folded = bound + (abs(zero) << rule.s) < 1 << 31
    if folded:
        constant, zero = constant + (zero << rule.s), 0
    values: dict[str, object] = {
        "m": tuple(m % dsp.WORD for m in rule.m),
        "signed_m": rule.m,
        "constant": constant % dsp.WORD,
        "signed_constant": constant,
        "s": rule.s,
        "added": zero,
        "signs": tuple("s" if info.type.signed else "" for info in inputs),
        "types": tuple(info.type.c_name for info in inputs),
        "out": output.type.c_name,
        "whole": output.size // UNROLLED,
        "left": output.size % UNROLLED,
        "unrolled": UNROLLED,
        "elements": output.size,
        **clamp,
    }
    kernel = dsp.helper("dsp_add", "add", values)
    proofs = tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs))
    return CPlan("add", {"tile": dsp.tag_of(kernel)}, (), (("dsp_guard", ()), kernel), 0, proofs)
