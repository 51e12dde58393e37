# SPDX-License-Identifier: Apache-2.0
"""Lets a probe start where it differs from the training forward pass that came before it.

A probe changes one width, so everything computed before that width's first use is what the training
step has just computed from the same batch. Only tensors that some weighted layer reads are kept:
autograd holds those for the gradient anyway, so the peak of memory does not move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .records import WEIGHTED, Record


@dataclass(frozen=True)
class Remembered:
    """Values of one training forward pass, and what they were computed from."""

    x: Tensor
    versions: tuple[int, ...]
    values: dict[str, Tensor]


class Replay:
    """What is kept of a pass over ``records``, and from where a later pass may go on."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.kept = frozenset(n for r in records if r.kind in WEIGHTED for n in r.inputs)
        last = {name: i for i, r in enumerate(records) for name in r.inputs}
        position = {r.name: i for i, r in enumerate(records)}
        self.start: list[int] = []
        """By record: the latest record from which a pass can go on that must redo this one."""
        self.live: list[frozenset[str]] = []
        best = 0
        for i in range(len(records)):
            live = frozenset(n for n, end in last.items() if position[n] < i <= end)
            self.live.append(live)
            if live <= self.kept:
                best = i
            self.start.append(best)
        self.memory: Remembered | None = None

    def remember(self, x: Tensor, parameters: Iterable[Tensor], values: dict[str, Tensor]) -> None:
        """Hold the values of a pass over ``x``; the tensors share memory with the pass."""
        self.memory = Remembered(x, tuple(p._version for p in parameters), values)

    def forget(self) -> None:
        """Free everything."""
        self.memory = None

    def resume(
        self, x: Tensor, parameters: Iterable[Tensor], changed: int
    ) -> tuple[int, dict[str, Tensor]]:
        """(first record to run, values before it) of a pass whose record ``changed`` differs.

        (0, nothing) where the remembered pass had another input or other parameters.
        """
        memory = self.memory
        if (
            memory is None
            or torch.is_grad_enabled()
            or memory.x is not x
            or memory.versions != tuple(p._version for p in parameters)
        ):
            return 0, {}
        first = self.start[changed]
        return first, {name: memory.values[name] for name in self.live[first]}
