# SPDX-License-Identifier: Apache-2.0
"""From executed transitions between blocks to instructions, cycles and taken branches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..hw_models import Timing
from .cycles import Block, Instruction, edge_cost, price_block

Transition = tuple[int, int, int]
"""Address of the block that was left, address of the next one, how often."""


@dataclass
class Sum:
    """What a set of transitions cost; ``cycles`` stays 0 without a cycle table."""

    instructions: int = 0
    cycles: float = 0.0
    taken: int = 0
    classes: Counter[str] = field(default_factory=Counter)


class BlockPrices:
    """Prices of decoded blocks under one cycle table, or none."""

    def __init__(
        self, decoded: Mapping[int, list[Instruction]], timing: Timing | None
    ) -> None:
        """Price every block once.

        Args:
            decoded: instructions of each block by its address.
            timing: the core's cycle table.
        """
        self._decoded = decoded
        self._timing = timing
        self._blocks: dict[int, Block] = {}
        self._ends = {at: at + sum(i.size for i in items) for at, items in decoded.items()}
        if timing is not None:
            self._blocks = {at: price_block(items, timing) for at, items in decoded.items()}

    def total(self, transitions: Iterable[Transition]) -> Sum:
        """Cost of leaving blocks as often as counted; each left block ran as often."""
        total = Sum()
        transitions = list(transitions)
        before = {b: a for a, b, _ in transitions if self._is_cut(a, b)}
        for previous, current, count in transitions:
            items = self._decoded[previous]
            total.instructions += count * len(items)
            for item in items:
                total.classes[item.group] += count
            if self._timing is None:
                continue
            block, target = self._blocks[previous], self._blocks.get(current)
            misaligned = target is not None and target.starts_misaligned
            cycles, taken = edge_cost(
                block, current, self._ends[previous], misaligned, self._timing
            )
            if self._is_cut(previous, current):
                cycles += self._seam(previous, current, before)
            total.cycles += count * (block.cycles + cycles)
            total.taken += count * taken
        return total

    def _is_cut(self, first: int, second: int) -> bool:
        """Whether two blocks are straight code that the emulator cut, as where a page ends."""
        block = self._blocks.get(first)
        return (
            block is not None
            and not block.ends_in_branch
            and second == self._ends[first]
            and second in self._blocks
        )

    def _seam(self, first: int, second: int, before: Mapping[int, int]) -> float:
        """What the second block costs more behind the first than on its own.

        Without it the cost would depend on where the linker puts a function.
        """
        assert self._timing is not None
        head = list(self._decoded[first])
        while first in before:
            first = before[first]
            head = [*self._decoded[first], *head]
        both = price_block([*head, *self._decoded[second]], self._timing)
        apart = price_block(head, self._timing).cycles + self._blocks[second].cycles
        return both.cycles - apart
