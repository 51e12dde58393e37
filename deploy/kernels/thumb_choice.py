# SPDX-License-Identifier: Apache-2.0
"""Chooses the form of a convolution by estimated instructions."""

from __future__ import annotations

from ..ops.weighted import Weights
from ..types import IntType
from .thumb_forms import PIXELS, Core, Form, Lanes, fields_form, lanes_forms


def choose(core: Core, weights: Weights, source: IntType, depth: int, run: int) -> Form:
    """The form with the fewest estimated instructions, the denser one where they tie.

    Args:
        core: the family.
        weights: of the layer.
        source: type of the activations.
        depth: products of one output.
        run: consecutive activations of a column, which the fields form pads to whole words.
    """
    outputs = weights.rows().shape[0]

    def total(form: Form) -> float:
        padded = int(depth // run * (-(-run // form.unit) * form.unit))
        centred = isinstance(form, Lanes) and form.centre != 0
        gather = padded * PIXELS * (1.0 * (form.offset != 0) + 0.5 * centred) / outputs
        return float(form.cost(core, padded) + gather)

    found: list[Form] = [
        form
        for span in (4, 2)
        if (form := fields_form(core, weights, source, span)) is not None
    ]
    found += lanes_forms(weights, source)
    return min(found, key=total)
