# SPDX-License-Identifier: Apache-2.0
"""Chooses the form of a convolution by estimated instructions."""

from __future__ import annotations

from ..ops.weighted import Weights
from ..types import IntType
from .thumb_forms import PIXELS, Core, Fields, Form, Lanes, fields_forms, lanes_forms

SPARSE = 1.01
"""A form that wastes flash must be faster by this."""


def sparse(form: Form) -> float:
    """Factor on the cost of a form that stores codes in wider slots."""
    return SPARSE if isinstance(form, Fields) and form.slot > form.bits else 1.0


def gather_cost(core: Core, form: Form, depth: int, run: int) -> float:
    """Estimated instructions that bring ``depth`` activations of each pixel into the column."""
    sums = form.offset != 0
    runs = depth // run
    if isinstance(form, Lanes):
        each = (2.9 if core.thumb1 else 2.2) + 0.5 * (form.centre != 0) + 1.5 * sums
        return PIXELS * (each * depth + 15 * runs)
    rest = run % 8 if core.thumb1 else run if run % 4 else 0
    whole = run - rest
    each = (3.2 if core.thumb1 else 1.9 if form.span == 2 else 1.2) + 0.6 * (form.shift_in != 0)
    single = 6.5 if core.thumb1 else 4.2
    return PIXELS * runs * (each * whole + single * rest + 22 + 12 * (run % form.unit != 0))


def choose(core: Core, weights: Weights, source: IntType, depth: int, run: int) -> Form:
    """The form with the fewest estimated instructions.

    Args:
        core: the family.
        weights: of the layer.
        source: type of the activations.
        depth: products of one output.
        run: consecutive activations of a column, which the fields form pads to whole words.
    """
    outputs = weights.rows().shape[0]

    def total(form: Form) -> float:
        padded = depth // run * (-(-run // form.unit) * form.unit)
        kernel = float(form.cost(core, padded)) + 2 * PIXELS * (form.step == 2)
        return float((outputs * kernel + gather_cost(core, form, depth, run)) * sparse(form))

    forms: list[Form] = [*fields_forms(core, weights, source), *lanes_forms(weights, source)]
    return min(forms, key=total)
