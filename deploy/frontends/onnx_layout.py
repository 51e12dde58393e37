# SPDX-License-Identifier: Apache-2.0
"""Where the elements of an ONNX tensor lie in the graph's memory.

ONNX counts channels first, the graph keeps them last, and reshapes and transposes in between should
cost nothing where only the order of counting changes. A tensor's sizes (batch axis left out) are
therefore split into factors, and ``order`` says in which order the factors follow each other in
memory: a map (C, H, W) has the factors C, H, W and the order H, W, C.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Factors of every axis and their order in memory; factors of size 1 are left out.

    Attributes:
        shape: sizes as ONNX counts them, batch axis left out.
        factors: of every axis.
        order: position among all factors, for every factor in memory from slow to fast.
    """

    shape: Shape
    factors: tuple[Shape, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, shape: Shape, axes: tuple[int, ...]) -> Layout:
        """Axes in memory order, unsplit."""
        factors = tuple((size,) if size != 1 else () for size in shape)
        numbers = np.cumsum([0, *(len(f) for f in factors)])
        return cls(shape, factors, tuple(int(numbers[a]) for a in axes if factors[a]))

    @classmethod
    def plain(cls, shape: Shape) -> Layout:
        """Memory in ONNX's own order."""
        return cls.of(shape, tuple(range(len(shape))))

    @classmethod
    def canonical(cls, shape: Shape) -> Layout:
        """The graph's order: channels last."""
        return cls.of(shape, (*range(1, len(shape)), 0))

    @property
    def flat(self) -> Shape:
        """All factors, in ONNX's order."""
        return tuple(size for axis in self.factors for size in axis)

    @property
    def memory(self) -> Shape:
        """All factors, in memory order."""
        return tuple(self.flat[i] for i in self.order)

    def index(self) -> NDArray[np.int64]:
        """For every element in memory, its position in ONNX's order."""
        count = np.arange(prod(self.flat), dtype=np.int64)
        return count.reshape(self.flat).transpose(self.order).reshape(-1)

    def transposed(self, axes: tuple[int, ...]) -> Layout:
        """The axes in another order; memory stays."""
        starts = np.cumsum([0, *(len(f) for f in self.factors)])
        moved = [int(starts[a]) + i for a in axes for i in range(len(self.factors[a]))]
        shape = tuple(self.shape[a] for a in axes)
        order = tuple(moved.index(i) for i in self.order)
        return Layout(shape, tuple(self.factors[a] for a in axes), order)

    def reshaped(self, shape: Shape) -> Layout | None:
        """Another shape over the same memory, None where an axis does not split that way."""
        old = [int(v) for v in np.cumprod([1, *self.flat])]
        ends = sorted({*old, *(int(v) for v in np.cumprod([1, *shape]))})
        if any(b % a for a, b in pairwise(ends)):
            return None
        sizes = [b // a for a, b in pairwise(ends)]
        pieces = [
            [k for k, end in enumerate(ends[1:]) if old[i] < end <= old[i + 1]]
            for i in range(len(self.flat))
        ]
        order = tuple(k for i in self.order for k in pieces[i])
        factors, at, product = [], 0, 1
        for size in shape:
            taken: list[int] = []
            product *= size
            while at < len(sizes) and ends[at + 1] <= product and size > 1:
                taken.append(sizes[at])
                at += 1
            factors.append(tuple(taken))
        return Layout(shape, tuple(factors), order)

    def split(self) -> Layout:
        """The canonical order of the same shape, split into this layout's factors."""
        return self._ordered((*range(1, len(self.shape)), 0))

    def straight(self) -> Layout:
        """ONNX's own order, split into this layout's factors."""
        return self._ordered(tuple(range(len(self.shape))))

    def _ordered(self, axes: tuple[int, ...]) -> Layout:
        starts = np.cumsum([0, *(len(f) for f in self.factors)])
        order = [int(starts[a]) + i for a in axes for i in range(len(self.factors[a]))]
        return Layout(self.shape, self.factors, tuple(order))


def node_shape(shape: Shape) -> Shape:
    """Shape of a graph tensor in canonical order: (H, W, C), (1, L, C) for sequences, (C,)."""
    if len(shape) == 2:
        return (1, shape[1], shape[0])
    return (*shape[1:], shape[0]) if shape else (1,)
