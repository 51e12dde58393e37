# SPDX-License-Identifier: Apache-2.0
"""Product of two tensors; the second may be one value per channel (squeeze-excite)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..requant import Requant
from ..types import IntArray, IntType
from .base import Bound, CPlan, TensorInfo
from .broadcast import BroadcastOp, broadcast_loops
from .weighted import check_requant_length, requant_helpers, requant_problems

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Mul(BroadcastOp):
    """The requantisation rule with ``(a - zero_a) * (b - zero_b)`` as the accumulator.

    Attributes:
        zeros: zero points of the inputs.
        requant: one set of constants.
        out_type: type of the output codes.
    """

    zeros: tuple[int, int]
    requant: Requant
    out_type: IntType
    kind: ClassVar[str] = "mul"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The first input's shape and the output type."""
        check_requant_length(self.kind, self.requant, 1)
        return super().infer(inputs)

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The rule, element by element."""
        a, b = (x.astype(np.int64) - z for x, z in zip(inputs, self.zeros, strict=True))
        return self.requant.apply(np.asarray(a * b, np.int64)[..., None])[..., 0]

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """Product and shifted product."""
        low, high = product_range(inputs, self.zeros)
        return [
            Bound("product", max(abs(low), abs(high))),
            Bound("shifted product", self.requant.t_bound(np.array([low]), np.array([high]))),
        ]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Requantiser limits."""
        return requant_problems(self.requant, self.out_type)

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Beats of both tensors make one beat; a smaller second tensor is repeated."""
        from ..rtl.product import plan_mul

        proof = tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs))
        return plan_mul(self, inputs, output, fold, product_range(inputs, self.zeros), proof)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loop."""
        return CPlan(
            self.kind,
            {
                **broadcast_loops(inputs, output), **scalar_requant(self.requant),
                "zeros": self.zeros,
            },
            helpers=requant_helpers(self.requant),
            proof=tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )  # fmt: skip


def scalar_requant(rule: Requant) -> dict[str, object]:
    """Literals of a requantiser with one set of constants."""
    return {
        "factor": 1 << rule.p, "bias": int(rule.bias[0]), "m": int(rule.m[0]),
        "s": int(rule.s[0]), "zero": int(rule.z[0]), "lo": rule.lo, "hi": rule.hi,
    }  # fmt: skip


def product_range(inputs: Sequence[TensorInfo], zeros: tuple[int, int]) -> tuple[int, int]:
    """(lowest, highest) product of two inputs less their zero points."""
    (a, b), (c, d) = (
        (t.type.lo - z, t.type.hi - z) for t, z in zip(inputs, zeros, strict=True)
    )
    ends = (a * c, a * d, b * c, b * d)
    return min(ends), max(ends)
