# SPDX-License-Identifier: Apache-2.0
"""Concatenation along channels of tensors that share one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo, need

if TYPE_CHECKING:
    from ..rtl.plan import Fold, RtlPlan


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Channels of the inputs side by side; types must be equal, so codes are copied."""

    kind: ClassVar[str] = "concat"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The sum of the channels."""
        need(
            len({tensor.shape[:-1] for tensor in inputs}) == 1,
            f"concat: shapes {[tensor.shape for tensor in inputs]}; only channels may differ;"
            " concatenate along the channel axis",
        )
        grids = {(tensor.type, tensor.scale, tensor.zero) for tensor in inputs}
        need(
            len(grids) == 1,
            f"concat: {len(grids)} different grids; one is supported; insert a"
            " requantize before it",
        )
        channels = sum(tensor.shape[-1] for tensor in inputs)
        return (*inputs[0].shape[:-1], channels), inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Plain concatenation."""
        return np.concatenate(list(inputs), axis=-1)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = output.type
        return elementwise_work(
            self.kind, output.size, len(inputs), type_.bits, type_.signed,
            channels=output.shape[-1], kernels=kernels,
        )  # fmt: skip

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan:
        """Beats of the inputs in turn."""
        from ..rtl.elementwise import plan_concat

        return plan_concat(inputs, output, fold.pe)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the copies."""
        widths = [tensor.shape[-1] for tensor in inputs]
        starts = [sum(widths[:i]) for i in range(len(widths))]
        return CPlan(
            "concat",
            {
                "pixels": output.size // output.shape[-1],
                "channels": output.shape[-1],
                "parts": tuple(zip(starts, widths, strict=True)),
            },
        )
