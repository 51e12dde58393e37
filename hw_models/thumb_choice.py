# SPDX-License-Identifier: Apache-2.0
"""Chooses the form of a layer on cores without DSP by its instructions."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from . import rv32_costs
from .thumb_core import Core
from .thumb_forms import PIXELS, FieldsShape, Grid, LanesShape, fields_shapes, lanes_shapes
from .thumb_planes import Plane, taps_group

SPARSE, THIN = 1.01, 1.15
"""A form that wastes flash must be faster by this; by the second where it wastes half."""
SMALL_BYTES = 512
"""Weights of a layer, up to which no flash is worth an instruction."""
QUAD = 4
"""Rows of a linear layer computed together, byte by byte."""
UNROLL = 8
"""Activations in the unrolled loop of these."""
TILE = {("lanes", True): 125, ("fields", True): 198, ("lanes", False): 88, ("fields", False): 133}
"""Instructions around the pieces of four pixels, by form and whether the core has Thumb-1 only."""
RUN = {("lanes", True): 14, ("fields", True): 22, ("lanes", False): 12, ("fields", False): 0}
"""Instructions around a call that reads one run of four pixels."""
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
    return min(THIN, rv32_costs.THIN) if core.riscv else THIN


def padded_depth(form: FieldsShape | LanesShape, runs: int, run: int) -> int:
    """Activations of a column, every run filled up to whole words."""
    return runs * ceil(run / form.unit) * form.unit


def spread_step(core: Core) -> int:
    """Activations in the unrolled loop that writes the fields form's column words."""
    return 8 if core.thumb1 else 4


def spread_cost(core: Core, form: FieldsShape | LanesShape, run: int, signed: bool) -> float:
    """Instructions that bring one run of four pixels into the column."""
    if core.riscv:
        return rv32_costs.spread(form, run)
    if isinstance(form, LanesShape):
        centred, sums = 2 * (form.centre != 0), form.offset != 0
        if sums:
            return 40 + 30.0 * run
        if not core.thumb1:
            return 26 + run * (9 + centred)
        if signed:
            return 27 + run * (14 + centred)
        return 40 + run * (9 + centred) + 6 * ceil(run / 4)
    sums, step = form.offset != 0, spread_step(core)
    loops, rest = divmod(run, step)
    words, part = divmod(rest, form.span)
    shifted = 2 * (form.shift_in != 0)
    if core.thumb1:
        word = 3 * form.span - 1 + shifted + sums
        loop = step // form.span * word + 4
        part_cost = (3 * part - 1 + sums) if part else 0
    else:
        word = 2 * form.span + shifted + sums
        loop = (2 + shifted + sums if form.span == 4 else 5 + shifted + 2 * sums) + 2
        part_cost = (2 * part + sums) if part else 0
    if part and shifted:
        part_cost += 12
    fixed = 11 + 4 * sums + (6 if sums and form.span == 4 else 0)
    return 24 + PIXELS * (fixed + loops * loop + words * word + part_cost)


def reading_cost(
    core: Core, form: FieldsShape | LanesShape, runs: int, run: int, signed: bool
) -> float:
    """Instructions that bring all runs of four pixels into the column."""
    if core.riscv:
        return rv32_costs.TILE + runs * spread_cost(core, form, run, signed)
    each = spread_cost(core, form, run, signed) + RUN[form.form, core.thumb1]
    return TILE[form.form, core.thumb1] + runs * each


def copy_cost(core: Core, span: int, depth: int, signed: bool) -> float:
    """Instructions that bring the activations of a linear layer into column words, or add them up.

    Args:
        core: the family.
        span: activations in a word; 1 for the form of four rows.
        depth: activations.
        signed: whether they are.
    """
    if core.riscv:
        return rv32_costs.copy(span, depth, True, signed)
    if core.thumb1:
        return 45 + (5.25 + 2 * signed) * depth
    if span == 1:
        return 0.0
    return 15 + ((4.55 if span == 2 else 4.0) + signed) * depth


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
        depth = padded_depth(form, runs, run)
        kernel = rv32_costs.passed(core, form, outputs) * form.cost(core, depth)
        reading = reading_cost(core, form, runs, run, grid.act_low < 0)
        return (kernel + reading) * sparse(core, form, outputs, depth)

    forms: list[FieldsShape | LanesShape] = [*fields_shapes(core, grid), *lanes_shapes(grid)]
    return min(forms, key=total)


def rows_cost(core: Core, outputs: int, depth: int) -> float:
    """Instructions of the rows of a linear layer that go four at a time, byte by byte."""
    quads, tail = divmod(outputs, QUAD)
    if core.riscv:
        return rv32_costs.rows(quads + (tail > 0), depth)
    if core.thumb1:
        quad = 103 + 13 * depth + 4 * ceil(depth / UNROLL)
        return quads * quad + tail * (43 + 5.25 * depth)
    quad = 40 + 9 * depth + 2 * ceil(depth / UNROLL)
    return quads * quad + tail * (30 + 4.25 * depth)


def linear_fields(core: Core, grid: Grid, outputs: int, depth: int) -> list[
    tuple[float, FieldsShape]
]:  # fmt: skip
    """(estimated instructions, form) of the fields forms of a linear layer."""
    rows = row_passes(core, outputs)
    return [
        ((rows * form.row_cost(core, depth) + copy_cost(core, form.span, depth, grid.act_low < 0)
          + FILLED * filled(form, depth)) * sparse(core, form, outputs, depth), form)
        for form in fields_shapes(core, grid)
    ]  # fmt: skip


def row_passes(core: Core, outputs: int) -> int:
    """Rows of a linear layer in the fields form that are computed."""
    return ceil(outputs / rv32_costs.ROWS) * rv32_costs.ROWS if core.riscv else outputs


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
    wide = rows_cost(core, outputs, depth) + copy_cost(core, 1, depth, grid.act_low < 0)
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
    group, centre = taps_group(grid, plane.taps)
    line = plane.columns * plane.pair_cost(core, group) + plane.row_cost(core)
    if plane.paired(core, groups, grid.act_low < 0):
        fill = plane.pair_fill_cost(core, centre, grid.act_low < 0) / 2
    else:
        fill = plane.fill_cost(core, centre)
    by_plane = fill + outputs * (CHANNEL + plane.rows * line)
    form = choose_conv(core, grid, outputs, runs, run)
    channels = rv32_costs.passed(core, form, outputs)
    tile = channels * form.cost(core, padded_depth(form, runs, run)) + reading_cost(
        core, form, runs, run, grid.act_low < 0
    )
    return by_plane < ceil(pixels / PIXELS) * tile
