# SPDX-License-Identifier: Apache-2.0
"""Nodes that compute nothing: the network's input and changes of shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..types import IntArray, IntType
from .base import Op, TensorInfo, need


@dataclass(frozen=True, eq=False)
class Input(Op):
    """The network's input codes.

    Attributes:
        shape: without the batch axis, channels last.
        type: type of the codes.
        layout: axis order of the source model's float input: "NCHW", "NCL" (a sequence, here of
            shape (1, L, C)), "NHWC" or "NC".
    """

    shape: tuple[int, ...]
    type: IntType
    layout: str
    kind: ClassVar[str] = "input"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """As declared."""
        need(
            self.layout in ("NCHW", "NCL", "NHWC", "NC"),
            f"input: layout {self.layout!r}; NCHW, NCL, NHWC and NC are supported",
        )
        return self.shape, self.type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """The given codes."""
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """Another shape for the same memory, channels last (flatten is the common case)."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "reshape"
    widest: ClassVar[int] = 16

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """The new shape."""
        need(
            int(np.prod(self.shape)) == inputs[0].size,
            f"reshape: {inputs[0].shape} to {self.shape}; the number of elements must stay",
        )
        return self.shape, inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """A view."""
        return inputs[0].reshape(inputs[0].shape[0], *self.shape)

    @property
    def passes_through(self) -> bool:
        """Shares its input's memory."""
        return True
