# SPDX-License-Identifier: Apache-2.0
"""Plans linear layers for cores without DSP.

Every weight is used once, so nothing is gained by packing several outputs into a word: wide weights
go four rows at a time byte by byte, narrow ones in the fields form, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...hw_models.thumb_choice import choose_linear
from ...hw_models.thumb_core import Core
from ...hw_models.thumb_costs import QUAD, UNROLL
from ..ops.base import CArray, CPlan, Helper, Op, TensorInfo
from ..ops.linear import Linear
from ..ops.weighted import Weights
from ..types import IntType
from .thumb_conv import (
    APART,
    extra_bias,
    record_tag,
    requant_fits,
    requant_literals,
    rule_helpers,
)
from .thumb_forms import Fields, grid_of, signed_codes, with_codes
from .thumb_pack import field_weights, multiplier_is_signed, records


@dataclass(frozen=True, eq=False)
class Rows:
    """Four rows at a time, one byte per weight; ``weight = step*code + offset``.

    Attributes:
        codes: ``[O, I]``, unsigned on ARMv6-M, which loads signed bytes at a higher price.
        step: 1 or 2.
        offset: added to every weight.
        shift_in: added to every activation.
    """

    form: ClassVar[str] = "rows"
    codes: NDArray[np.integer]
    step: int
    offset: int
    shift_in: int


def plan_linear(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan of a linear layer, or None where the portable kernel serves it."""
    assert isinstance(op, Linear)
    if not requant_fits(core, op, inputs):
        return None
    source = inputs[0]
    outputs, depth = op.weights.codes.shape
    # signed multipliers need a register that the rows kernel of ARMv6-M does not have
    rows = not (core.thumb1 and multiplier_is_signed(op.requant))
    shape = choose_linear(core, grid_of(op.weights, source.type), outputs, depth, rows=rows)
    if shape is not None:
        form = with_codes(shape, op.weights, source.type)
        assert isinstance(form, Fields)
        return linear_plan(core, form, op, source, output)
    if not rows:
        return None
    return linear_plan(core, rows_form(core, op.weights, source.type), op, source, output)


def rows_form(core: Core, weights: Weights, source: IntType) -> Rows:
    """The rows form of a layer; it always holds."""
    if core.thumb1:
        return Rows(weights.rows(), weights.step, weights.offset, -source.lo)
    codes, _, step, offset = signed_codes(weights)[0]
    return Rows(codes, step, offset, 0)


def linear_plan(
    core: Core, form: Fields | Rows, op: Linear, source: TensorInfo, output: TensorInfo
) -> CPlan:
    """The plan of a linear layer in a given form."""
    shift = op.requant.p + (form.step == 2)
    sums = form.offset != 0
    early = sums and form.step == 1
    rule = requant_literals(core, op.requant, shift, late=sums and not early)
    values: dict[str, Any] = {
        "q": rule,
        "sums": sums,
        "early": early,
        "offset_word": form.offset & 0xFFFFFFFF,
        "pixel_shift": 0 if early else op.requant.p,
        "shift_in": form.shift_in,
        "depth": source.size,
    }
    if isinstance(form, Fields):
        more, weights, kernel, scratch, proof = _fields(core, form, source.size, rule, early)
        extra = extra_bias(form, op)
    else:
        more, weights, kernel, scratch = _rows(core, form, source, rule, early)
        extra, proof = -form.shift_in * op.weights.values.sum(axis=1), ()
    helpers: tuple[Helper, ...] = (APART, *rule_helpers(core, op.requant), ("thumb_row_job", ()))
    if more["rows"]:
        values["kernel_ident"] = dict(kernel[1])["k"]["ident"]
        helpers += (kernel,)
    return CPlan(
        "linear",
        values | more,
        (weights, records(op.requant, extra, core)),
        helpers,
        scratch,
        (*op.proof([source]), *proof),
    )


def _fields(
    core: Core, form: Fields, depth: int, rule: dict[str, Any], early: bool
) -> tuple[dict[str, Any], CArray, Helper, int, tuple[str, ...]]:
    words = -(-form.multiplies(depth) // form.fields)
    columns = words * form.fields
    codes = np.pad(form.codes, ((0, 0), (0, columns * form.span - depth)))
    skip = -words % form.words
    size = form.word_instructions(core) * (2 if core.thumb1 else 4)
    out = skip * form.fields // form.block * 4
    kernel = {
        "q": rule, "early": early, "span": form.span, "spacing": form.spacing, "mask": form.mask,
        "fields": form.fields, "words": form.words, "block": form.block,
        "shifts": form.shifts, "steps": form.steps,
        "far": form.far_row(core),
        "ident": f"single_{form.tag}{'e' if early else ''}_{record_tag(rule)}",
    }  # fmt: skip
    values = {
        "copied": "words", "rows": form.codes.shape[0], "tail": 0, "span": form.span,
        "spacing": form.spacing, "whole": depth // form.span, "words": columns,
        "depth_bytes": 4 * columns, "entry": skip * size + out, "word": form.mask,
        "skip": skip * form.fields,
    }  # fmt: skip
    helper: Helper = (f"thumb_single_{core.name}", (("k", kernel),))
    return values, field_weights(form, codes), helper, 4 * columns, form.proof()


def _rows(
    core: Core, form: Rows, source: TensorInfo, rule: dict[str, Any], early: bool
) -> tuple[dict[str, Any], CArray, Helper, int]:
    codes = form.codes
    missing = -codes.shape[0] % QUAD if core.whole_quads else 0
    codes = np.pad(codes, ((0, missing), (0, 0)))
    quads, tail = divmod(codes.shape[0], QUAD)
    depth = source.size
    act = "uint8_t" if form.shift_in else source.type.c_name
    code = "uint8_t" if core.thumb1 else "int8_t"
    whole = codes[: QUAD * quads].reshape(quads, QUAD, depth).transpose(0, 2, 1)
    data = np.concatenate([whole.reshape(-1), codes[QUAD * quads :].reshape(-1)])
    skip = -depth % UNROLL
    kernel = {
        "q": rule, "early": early, "act": act, "code": code,
        "load_act": "ldrsb" if act == "int8_t" else "ldrb", "load_code": "ldrsb",
        "ident": f"rows_{act[0]}{'e' if early else ''}_{record_tag(rule)}",
    }  # fmt: skip
    values = {
        "copied": "bytes" if form.shift_in else "", "act": act, "code": code, "rows": quads,
        "tail": tail, "tail_weights": QUAD * quads * depth,
        "tail_records": QUAD * quads * rule["record"], "depth_bytes": depth,
        "entry": skip * (26 if core.thumb1 else 36), "word": skip, "skip": missing,
    }  # fmt: skip
    note = f"codes, four rows interleaved; weight = {form.step}*code + {form.offset}"
    array = CArray("w", code, tuple(int(v) for v in data), note)
    helper: Helper = (f"thumb_rows_{core.name}", (("k", kernel),))
    return values, array, helper, depth if form.shift_in else 0
