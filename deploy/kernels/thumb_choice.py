# SPDX-License-Identifier: Apache-2.0
"""Chooses the form of a convolution: the choice of the cost report, with the layer's weights."""

from __future__ import annotations

from ...hw_models.thumb_choice import choose_conv
from ...hw_models.thumb_core import Core
from ..ops.weighted import Weights
from ..types import IntType
from .thumb_forms import Form, grid_of, with_codes


def choose(
    core: Core, weights: Weights, source: IntType, runs: int, run: int, outputs: int
) -> Form:
    """The form with the fewest estimated instructions.

    Args:
        core: the family.
        weights: of the layer.
        source: type of the activations.
        runs: pieces of adjacent activations in a column.
        run: activations of one piece, which the fields form pads to whole words.
        outputs: channels that read one column.
    """
    shape = choose_conv(core, grid_of(weights, source), outputs, runs, run)
    return with_codes(shape, weights, source)
