# SPDX-License-Identifier: Apache-2.0
"""Chooses the form of a layer on cores without DSP by its instructions."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from .thumb_core import Core
from .thumb_costs import PIXELS, QUAD
from .thumb_forms import FieldsShape, Grid, LanesShape, fields_shapes, lanes_shapes, padded_depth
from .thumb_planes import Plane

SPARSE = 1.01
"""A form that wastes flash must be faster by this; `Costs.thin` where it wastes half."""
SMALL_BYTES = 512
"""Weights of a layer, up to which no flash is worth an instruction."""
CHANNEL = 250.0
"""Instructions around one channel of a depthwise layer."""
FILLED = 14.0
"""Instructions of a column word of a linear layer that is not full."""


def sparse(core: Core, form: FieldsShape | LanesShape, outputs: int, depth: int) -> float:
    """Factor on the cost of a form that stores codes in wider slots.

    Args:
        core: the family.
        form: the form.
        outputs: channels or rows.
        depth: activations of each.
    """
    if not isinstance(form, FieldsShape) or form.weight_bytes(outputs, depth) <= SMALL_BYTES:
        return 1.0
    words = form.spacing // form.bits / form.fields  # times those of the narrowest slots
    if words <= 1.5:
        return 1.0 if words == 1 else SPARSE
    # binary weights fill a word that short columns leave half empty: they may not cost 6 % more
    return core.costs.thin


def choose_conv(
    core: Core, grid: Grid, outputs: int, runs: int, run: int
) -> FieldsShape | LanesShape:
    """The form of a convolution with the fewest estimated instructions.

    Args:
        core: the family.
        grid: weights and activations.
        outputs: channels that read one column.
        runs: pieces of adjacent activations in a column.
        run: activations of one piece, which the fields form pads to whole words.
    """

    def total(form: FieldsShape | LanesShape) -> float:
        depth = padded_depth(core, form, runs, run)
        kernel = core.costs.passed(core, form, outputs) * form.cost(core, depth)
        reading = core.costs.reading(core, form, runs, run, grid.act_low < 0)
        return (kernel + reading) * sparse(core, form, outputs, depth)

    forms: list[FieldsShape | LanesShape] = [*fields_shapes(core, grid), *lanes_shapes(grid)]
    return min(forms, key=total)


def linear_fields(core: Core, grid: Grid, outputs: int, depth: int) -> list[
    tuple[float, FieldsShape]
]:  # fmt: skip
    """(estimated instructions, form) of the fields forms of a linear layer."""
    rows = row_passes(core, outputs)
    return [
        ((rows * form.row_cost(core, depth) + core.costs.copy(form.span, depth, grid.act_low < 0)
          + FILLED * filled(form, depth)) * sparse(core, form, outputs, depth), form)
        for form in fields_shapes(core, grid)
    ]  # fmt: skip


def row_passes(core: Core, outputs: int) -> int:
    """Rows of a linear layer in the fields form that are computed."""
    return ceil(outputs / QUAD) * QUAD if core.whole_quads else outputs


def filled(form: FieldsShape, depth: int) -> int:
    """Column words of a linear layer that hold less than ``span`` activations."""
    return ceil(form.multiplies(depth) / form.fields) * form.fields - depth // form.span


def choose_linear(
    core: Core, grid: Grid, outputs: int, depth: int, *, rows: bool = True
) -> FieldsShape | None:
    """The form of a linear layer; None for rows four at a time.

    Args:
        core: the family.
        grid: weights and activations.
        outputs: rows.
        depth: activations.
        rows: whether rows four at a time are possible.
    """
    found = linear_fields(core, grid, outputs, depth)
    best = _best(found)
    wide = core.costs.rows(outputs, depth) + core.costs.copy(1, depth, grid.act_low < 0)
    if best is None or (rows and wide < best[0]):
        return None
    return best[1]


def _best(found: Iterable[tuple[float, FieldsShape]]) -> tuple[float, FieldsShape] | None:
    return min(found, key=lambda entry: entry[0], default=None)


def goes_by_plane(
    core: Core, grid: Grid, plane: Plane, pixels: int, groups: int, outputs: int, runs: int,
    run: int,
) -> bool:  # fmt: skip
    """Whether a convolution of one input channel per output goes the way of depthwise ones.

    Args:
        core: the family.
        grid: weights and activations.
        plane: its geometry.
        pixels: output pixels.
        groups: input channels.
        outputs: output channels of an input channel.
        runs: pieces of adjacent activations in a column.
        run: activations of one piece.
    """
    if not plane.fits(core):
        return False
    group, centre = how = plane.taps_group(core, grid, groups)
    stored = plane.stored_centre(core, groups, grid.act_low, how)
    if plane.paired(core, groups, grid.act_low, how):
        fill = plane.pair_fill_cost(core, stored, grid.act_low) / 2
    else:
        fill = plane.fill_cost(core, centre)
    by_plane = fill + outputs * (CHANNEL + plane.kernel_cost(core, group, stored != centre))
    form = choose_conv(core, grid, outputs, runs, run)
    channels = core.costs.passed(core, form, outputs)
    tile = channels * form.cost(core, padded_depth(core, form, runs, run)) + core.costs.reading(
        core, form, runs, run, grid.act_low < 0
    )
    return by_plane < ceil(pixels / PIXELS) * tile
