# SPDX-License-Identifier: Apache-2.0
"""Compact kernels of the operators without weights: add, pools and requantise."""

from __future__ import annotations

from collections.abc import Sequence

from ..ops.add import Add
from ..ops.base import CPlan, Op, TensorInfo, Window
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.requantize import Requantize
from ..requant import AddRequant
from .compact_layer import (
    HALF,
    RECORD_BYTES,
    SIGNED_HALF,
    Flavour,
    Layer,
    layer_helpers,
    rule_arrays,
)
from .compact_order import order_proof, window_distance
from .compact_weighted import pads_fit

SUM_BYTES = 20
"""Bytes of the record of a sum: three words, three half-words, two bytes."""
SIGNED_FLAGS = (64, 128)
WORD = 1 << 32


def plan_add(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a sum of two tensors; None for more of them."""
    assert isinstance(op, Add)
    rule = op.requant
    if len(inputs) != 2 or not _sum_fits(rule, output.size):
        return None
    flips = [128 if info.type.signed else 0 for info in inputs]
    lifted = sum(m * flip for m, flip in zip(rule.m, flips, strict=True))
    constant = (rule.bias + (1 << (rule.s - 1)) - lifted) % WORD
    flags = sum(flag for flag, flip in zip(SIGNED_FLAGS, flips, strict=True) if flip)
    span = rule.hi - rule.lo
    fields = (*rule.m, f"{constant}u", output.size, rule.z, rule.lo, span, rule.s + flags)
    return CPlan(
        "add",
        {"fields": fields},
        helpers=(("clamp", ()), ("compact_add", ())),
        proof=(
            *(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs)),
            order_proof(0, "an input"),
        ),
        overlaps=(0, 0),
        record_bytes=SUM_BYTES,
    )


def _sum_fits(rule: AddRequant, elements: int) -> bool:
    """Whether the members of the record fit their C types; codes have 8 bits at most."""
    return rule.z in SIGNED_HALF and rule.lo in SIGNED_HALF and elements in HALF


def plan_requantize(
    flavour: Flavour, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """Plan of a per-channel map of codes."""
    assert isinstance(op, Requantize)
    channels = output.shape[-1]
    arrays = rule_arrays(op.requant)
    shape = (1, output.size // channels, channels)
    fields = Layer(shape, shape, requant=op.requant).fields(weights=False)
    if arrays is None or fields is None:
        return None
    tag = "s" if inputs[0].type.signed else "u"
    own = ("compact_regrid", (("tag", tag), ("act", inputs[0].type.c_name)))
    return CPlan(
        "layer",
        {"fields": fields, "function": f"regrid_{tag}", "column": False, "direct": False},
        arrays,
        layer_helpers(flavour, own),
        proof=(
            *(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs)),
            order_proof(0, "the input"),
        ),
        overlaps=(0,),
        record_bytes=RECORD_BYTES,
    )


def plan_pool(
    flavour: Flavour, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """Plan of a pool; None for averages that count positions outside the image as other than 0."""
    assert isinstance(op, AvgPool2d | MaxPool2d)
    window, act = op.window, inputs[0].type
    if not pads_fit(window):
        return None
    rule = None
    if isinstance(op, AvgPool2d):
        rule = op.requant
        if any(window.pad) and op.pad_value:
            return None
    arrays = rule_arrays(rule) if rule else ()
    fields = Layer(inputs[0].shape, output.shape, window, rule).fields(weights=False)
    if arrays is None or fields is None:
        return None
    tag = f"{'mean' if rule else 'max'}_{'s' if act.signed else 'u'}"
    own = ("compact_pool", (("tag", tag), ("act", act.c_name), ("largest", rule is None)))
    helpers = (("compact_window", ()), own)
    apart = _pool_distance(window, inputs[0], output)
    return CPlan(
        "layer",
        {"fields": fields, "function": f"pool_{tag}", "column": False, "direct": False},
        arrays,
        layer_helpers(flavour, *helpers) if rule else (("compact_layer", ()), *helpers),
        proof=(
            *(f"|{b.what}| <= {b.magnitude}" for b in op.bounds(inputs)),
            order_proof(apart, "the input"),
        ),
        overlaps=(apart,),
        record_bytes=RECORD_BYTES,
    )


def _pool_distance(window: Window, source: TensorInfo, result: TensorInfo) -> int:
    return window_distance(window, source.shape, result.shape, read_first=False)
