# SPDX-License-Identifier: Apache-2.0
"""Larger images: nearest neighbour (codes are copied) and bilinear in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..requant import Int64, Requant
from ..types import IntArray, IntType
from .base import Bound, CArray, CPlan, Op, TensorInfo, need
from .mul import scalar_requant
from .weighted import check_requant_length, requant_helpers, requant_problems

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class UpsampleNearest(Op):
    """``y[i, j] = x[i * H / OH, j * W / OW]``, rounded down.

    Attributes:
        size: (OH, OW).
    """

    size: tuple[int, int]
    kind: ClassVar[str] = "upsample_nearest"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, C) and the input's type."""
        return _shape(self.kind, self.size, inputs[0]), inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Indexing."""
        rows, columns = (
            np.arange(out) * size // out
            for out, size in zip(self.size, inputs[0].shape[1:3], strict=True)
        )
        return inputs[0][:, rows[:, None], columns]

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        return elementwise_work(self.kind, output.size, 1, output.type.bits, output.type.signed)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Rows in a ring, read several times; whole factors only."""
        from ..rtl.movement import plan_upsample

        return plan_upsample(inputs[0], output, fold.pe)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loops."""
        height, width, channels = inputs[0].shape
        return CPlan(
            self.kind,
            {"height": height, "width": width, "channels": channels, "rows": self.size[0],
             "columns": self.size[1]},
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class UpsampleBilinear(Op):
    """Weighted sum of four neighbours, then requantised.

    Along each axis the position of output i is a fraction with denominator d (`taps`): the
    neighbours weigh d - w and w. The accumulator is the sum of the four products, at most
    ``d_rows * d_columns`` times the largest code.

    Attributes:
        size: (OH, OW).
        corners: 1 where the corner pixels' centres stay in place, 0 where the borders do.
        requant: one set of constants, for the sum.
        out_type: type of the output codes.
    """

    size: tuple[int, int]
    corners: int
    requant: Requant
    out_type: IntType
    kind: ClassVar[str] = "upsample_bilinear"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, C) and the output type."""
        check_requant_length(self.kind, self.requant, 1)
        return _shape(self.kind, self.size, inputs[0]), self.out_type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Rows first, then columns, in int64."""
        x = inputs[0].astype(np.int64)
        for axis in (1, 2):
            low, high, weight, denominator = taps(
                x.shape[axis], self.size[axis - 1], bool(self.corners)
            )
            w = weight.reshape(-1, *[1] * (3 - axis))
            x = x.take(low, axis) * (denominator - w) + x.take(high, axis) * w
        return self.requant.apply(x)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """The sum, and the sum shifted."""
        type_ = inputs[0].type
        factor = denominators(inputs[0].shape, self.size, bool(self.corners))
        low, high = np.array([type_.lo * factor]), np.array([type_.hi * factor])
        return [
            Bound("weighted sum", int(max(abs(low[0]), abs(high[0])))),
            Bound("shifted sum with bias", self.requant.t_bound(low, high)),
        ]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Requantiser limits."""
        found = requant_problems(self.requant, self.out_type)
        if self.corners not in (0, 1):
            found.append(f"corners {self.corners}; 0 and 1 are supported")
        return found

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        bytes_ = 6 * sum(self.size)
        return elementwise_work(self.kind, output.size, 1, type_.bits, type_.signed, bytes_)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Tables of the positions and literals of the loops."""
        arrays, values = [], {}
        for axis, name in enumerate(("row", "column")):
            low, high, weight, denominator = taps(
                inputs[0].shape[axis], self.size[axis], bool(self.corners)
            )
            values[f"{name}_denominator"] = denominator
            for part, numbers, note in (
                ("low", low, f"{name} of the first neighbour"),
                ("high", high, f"{name} of the second neighbour"),
                ("weight", weight, f"weight of the second neighbour, of {denominator}"),
            ):
                flat = tuple(int(v) for v in numbers)
                arrays.append(CArray(f"{name}_{part}", "uint16_t", flat, note))
        return CPlan(
            self.kind,
            {
                **values, **scalar_requant(self.requant), "rows": self.size[0],
                "columns": self.size[1], "width": inputs[0].shape[1],
                "channels": inputs[0].shape[2],
            },
            tuple(arrays),
            requant_helpers(self.requant),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )  # fmt: skip


def _shape(kind: str, size: tuple[int, int], source: TensorInfo) -> tuple[int, ...]:
    need(
        len(source.shape) == 3 and min(size) >= 1 and max(*size, *source.shape[:2]) < 1 << 15,
        f"{kind}: from {source.shape} to {size}; (H, W, C) and sizes from 1 to 32767 are supported",
    )
    return (*size, source.shape[2])


def taps(size: int, out: int, corners: bool) -> tuple[Int64, Int64, Int64, int]:
    """(first neighbour, second neighbour, weight of the second, denominator) along one axis.

    Positions are ``i*(size-1)/(out-1)`` with corners in place, else ``(i + 1/2)*size/out - 1/2``,
    limited to the image from below.
    """
    i = np.arange(out, dtype=np.int64)
    if corners:
        denominator = max(out - 1, 1)
        position = i * (size - 1)
    else:
        denominator = 2 * out
        position = np.maximum((2 * i + 1) * size - out, 0)
    common = gcd(denominator, int(np.gcd.reduce(position)))
    position, denominator = position // common, denominator // common
    low = position // denominator
    return low, np.minimum(low + 1, size - 1), position % denominator, denominator


def denominators(
    shape: tuple[int, ...], size: tuple[int, int], corners: bool
) -> int:
    """Accumulator units of one input code: the product of both axes' denominators."""
    return taps(shape[0], size[0], corners)[3] * taps(shape[1], size[1], corners)[3]
