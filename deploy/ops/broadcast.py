# SPDX-License-Identifier: Apache-2.0
"""How the second input of a two-input operator may be smaller than the first.

Equal shapes; one value per channel ``(1, 1, C)`` (squeeze-excite, `(C,)` too); one value per pixel
``(H, W, 1)``; or a single value. The first input has the shape of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.work import Work, elementwise_work
from ..types import IntType
from .base import Op, TensorInfo, need


class BroadcastOp(Op):
    """An operator on two tensors, element by element."""

    out_type: IntType

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The first input's shape and the output type."""
        return broadcast_shape(self.kind, inputs), self.out_type

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """Features for cost tables."""
        type_ = inputs[0].type
        return elementwise_work(self.kind, output.size, 2, type_.bits, type_.signed)


def broadcast_shape(kind: str, inputs: Sequence[TensorInfo]) -> tuple[int, ...]:
    """Shape of the result.

    Raises:
        UnsupportedError: a number of inputs other than two, or shapes of another relation.
    """
    need(len(inputs) == 2, f"{kind}: {len(inputs)} inputs; two are supported")
    first, second = inputs[0].shape, inputs[1].shape
    need(
        len(second) == len(first)
        and (
            second == first
            or second == (*[1] * (len(first) - 1), first[-1])
            or second == (*first[:-1], 1)
            or set(second) == {1}
        ),
        f"{kind}: shapes {first} and {second}; equal shapes, one value per channel, one per pixel"
        " and a single value in second place are supported; expand it outside the network",
    )
    return first


def broadcast_loops(inputs: Sequence[TensorInfo], output: TensorInfo) -> dict[str, object]:
    """Template literals: pixels, channels, and the C index of the second input."""
    first, second = inputs[0].shape, inputs[1].shape
    channels = first[-1]
    pixels = output.size // channels
    if second == first:
        return {"pixels": 1, "channels": output.size, "second": "c"}
    if set(second) == {1}:
        return {"pixels": 1, "channels": output.size, "second": "0"}
    return {
        "pixels": pixels,
        "channels": channels,
        "second": "c" if second[-1] == channels and channels > 1 else "pixel",
    }
