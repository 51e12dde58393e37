# SPDX-License-Identifier: Apache-2.0
"""Element by element the largest or smallest of tensors that share one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo, need


@dataclass(frozen=True, eq=False)
class Extremum(Op):
    """``y = max(x_0, x_1, ...)`` where ``largest`` is 1, the smallest where it is 0.

    Types and grids must be equal, so codes are compared.
    """

    largest: int
    kind: ClassVar[str] = "extremum"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The common shape and type."""
        need(
            len(inputs) >= 2 and len({tensor.shape for tensor in inputs}) == 1,
            f"extremum: shapes {[tensor.shape for tensor in inputs]}; two or more equal ones are"
            " supported; no broadcasting",
        )
        grids = {(tensor.type, tensor.scale, tensor.zero) for tensor in inputs}
        need(
            len(grids) == 1,
            f"extremum: {len(grids)} different grids; one is supported; insert a"
            " requantize before it",
        )
        return inputs[0].shape, inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """NumPy's maximum or minimum."""
        return reduce(np.maximum if self.largest else np.minimum, inputs)

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """The flag."""
        return [] if self.largest in (0, 1) else [f"largest {self.largest}; 0 and 1 are supported"]

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = output.type
        return elementwise_work(self.kind, output.size, len(inputs), type_.bits, type_.signed)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the loop."""
        sign = ">" if self.largest else "<"
        return CPlan(self.kind, {"elements": output.size, "sign": sign})
