# SPDX-License-Identifier: Apache-2.0
"""How one 32-bit multiply carries several products on cores without DSP, and why it is exact.

Two forms, each proven from the widths (and, where that leaves something open, the real weights):

* *lanes*: a word holds one activation of two pixels, ``x0 + 65536*x1``; a multiply by a signed
  weight makes a product for each. ``group`` words are summed, then the sum is split.
* *fields*: a word holds ``span`` unsigned weight codes and another as many unsigned activations in
  the opposite order; the top digit of their product is the sum of ``span`` products of one output.
  ``block`` products are summed before the top digit is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...hw_models.thumb_core import Core
from ...hw_models.thumb_costs import PIXELS
from ...hw_models.thumb_forms import (
    LANE_MAX,
    LANE_MIN,
    FieldsShape,
    Grid,
    LanesShape,
    field_limit,
    fields_shapes,
    lanes_shapes,
)
from ..ops.weighted import Weights
from ..types import IntType

__all__ = [
    "LANE_MAX", "LANE_MIN", "PIXELS", "Fields", "Form", "Lanes", "field_limit", "fields_forms",
    "grid_of", "group_range", "lanes_forms", "signed_codes", "with_codes",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Lanes(LanesShape):
    """The lanes form of a layer's own weights.

    Attributes:
        codes: int8 ``[OC, K]``.
        biased: 0x8000 is added before the split, which removes the condition on negative lanes.
        reach: largest magnitude of a lane.
        scale: left shift that the codes carry.
    """

    codes: NDArray[np.int8]
    biased: bool
    reach: int
    scale: int = 0

    def body(self, core: Core) -> int:
        """Instructions of one group, all pixels."""
        return super().body(core) + (self.biased and core.thumb1)

    def proof(self) -> tuple[str, ...]:
        """Why the lanes stay apart."""
        limit = "-32768..32767" if self.biased else "-32767..32767, carry restores the borrow"
        return (
            "one multiply makes a product for each of two pixels, activations minus"
            f" {self.centre};",
            f"{self.group} are summed before the 16-bit lanes are split: |sum| <= {self.reach},"
            f" within {limit}",
        )


@dataclass(frozen=True, eq=False)
class Fields(FieldsShape):
    """The fields form of a layer's own weights.

    Attributes:
        codes: uint8 ``[OC, K]``.
    """

    codes: NDArray[np.uint8]

    @property
    def mask(self) -> int:
        """Selects one multiplier of a weight word."""
        return self.largest * sum(1 << (self.spacing * i) for i in range(self.span))

    @property
    def shifts(self) -> list[int]:
        """Right shifts that bring the multipliers of a word under the mask."""
        return [self.slot * i - self.doubled for i in range(self.fields)]

    @property
    def tag(self) -> str:
        """Tells forms with different kernels apart."""
        block = f"b{self.words}" if self.outs == 1 else f"b{self.words}o{self.outs}"
        return f"s{self.span}w{self.bits}x{self.slot}{block}{'d' if self.doubled else ''}"

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The multiplies of the unrolled loop, in order, as the templates print them."""
        return [
            {
                "load": i % self.fields == 0, "shift": self.shifts[i % self.fields],
                "first": i % self.block == 0, "out": (i + 1) % self.block == 0,
            }
            for i in range(self.unrolled)
        ]  # fmt: skip

    def proof(self) -> tuple[str, ...]:
        """Why the top digit is exact."""
        product = self.largest * self.top
        capacity = (1 << self.spacing) - 1
        worst = self.span * product * self.block
        return (
            f"one multiply adds {self.span} products of one output into its top {self.spacing}"
            f" bits; {self.block} multiplies are summed:",
            f"{self.span} * {product} * {self.block} = {worst} <= {capacity}, lower digits smaller,"
            " so nothing is carried in or lost",
        )


Form = Lanes | Fields


def grid_of(weights: Weights, source: IntType) -> Grid:
    """What the choice of a form depends on."""
    return Grid(weights.bits, weights.step, weights.offset, source.bits, source.lo)


def with_codes(shape: LanesShape | FieldsShape, weights: Weights, source: IntType) -> Form:
    """The form of a layer's own weights."""
    plain: dict[str, Any] = {item.name: getattr(shape, item.name) for item in fields(shape)}
    if isinstance(shape, FieldsShape):
        return Fields(**plain, codes=weights.rows())
    codes = next(
        codes for codes, _, step, offset in signed_codes(weights)
        if (step, offset) == (shape.step, shape.offset)
    )  # fmt: skip
    ends = (source.lo - shape.centre, source.hi - shape.centre)
    low, high = group_range(codes, shape.group, *ends)
    # a lane of -32768 above a negative one leaves 32 bits; the added 0x8000 brings it back
    return Lanes(**plain, codes=codes, biased=low == LANE_MIN, reach=max(-low, high))


def fields_forms(core: Core, weights: Weights, source: IntType) -> list[Fields]:
    """The fields forms of a layer; none where one multiply already overflows."""
    forms = [with_codes(s, weights, source) for s in fields_shapes(core, grid_of(weights, source))]
    return [form for form in forms if isinstance(form, Fields)]


def lanes_forms(weights: Weights, source: IntType) -> list[Lanes]:
    """The lanes forms that hold for a layer whatever its weights, at least one."""
    forms = [with_codes(shape, weights, source) for shape in lanes_shapes(grid_of(weights, source))]
    return [form for form in forms if isinstance(form, Lanes)]


def signed_codes(
    weights: Weights,
) -> list[tuple[NDArray[np.int8], tuple[int, int], int, int]]:
    """(codes, their range, step, offset): the weights where int8 holds them, and centred codes."""
    found = []
    low, high = weights.offset, weights.offset + weights.step * ((1 << weights.bits) - 1)
    rows = weights.rows().astype(np.int64)
    if low >= -128 and high <= 127:
        found.append(
            ((weights.step * rows + weights.offset).astype(np.int8), (low, high), 1, 0)
        )
    half = 1 << (weights.bits - 1)
    offset = weights.offset + weights.step * half
    if not found or offset:
        found.append(((rows - half).astype(np.int8), (-half, half - 1), weights.step, offset))
    return found


def group_range(codes: NDArray[np.integer], group: int, lo: int, hi: int) -> tuple[int, int]:
    """(lowest, highest) sum over any aligned group of products, activations within lo..hi.

    Partial sums count: a group is added up word by word.
    """
    rows = codes.astype(np.int64)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % group)))
    ends = np.stack([rows * lo, rows * hi])
    low = np.minimum(ends.min(axis=0), 0).reshape(len(rows), -1, group).sum(2)
    high = np.maximum(ends.max(axis=0), 0).reshape(len(rows), -1, group).sum(2)
    return int(low.min(initial=0)), int(high.max(initial=0))
