# SPDX-License-Identifier: Apache-2.0
"""Per-channel requantisation on cores with the DSP extension: one SMMLAR and one saturation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...hw_models.work import UNROLLED_ELEMENTS
from ..ops.base import CArray, CPlan, Op, TensorInfo
from ..ops.requantize import Requantize
from . import dsp_packing as dsp


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a requantisation: channel by channel, its constants in registers."""
    assert isinstance(op, Requantize)
    rule, channels = op.requant, output.shape[-1]
    if inputs[0].type.bytes_ != 1:
        return None
    constants = np.stack([rule.bias, rule.m << (32 - rule.s), rule.z], axis=1) % dsp.WORD
    zero = dsp.same_zero(rule)
    each = 2 if zero is not None else 3
    pixels = output.size // channels
    values = {
        "channels": channels,
        "pixels": pixels,
        "shift": rule.p,
        "zero": zero,
        "each": each,
        "unrolled": UNROLLED_ELEMENTS,
        "whole": pixels // UNROLLED_ELEMENTS,
        "left": pixels % UNROLLED_ELEMENTS,
        "lo": rule.lo,
        "hi": rule.hi,
    }
    stream = tuple(int(v) for v in constants[:, :each].reshape(-1))
    arrays = (CArray("c", "uint32_t", stream, "for each channel: bias, multiplier, zero"),)
    helpers = (("dsp_guard", ()), ("dsp_finish", ()), ("dsp_scalar", ()))
    proof = tuple(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs))
    return CPlan("requantize", values, arrays, helpers, 0, proof)
