# SPDX-License-Identifier: Apache-2.0
"""Streams in time, and how the times of their beats follow from each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Link:
    """One stream: per beat, when it is offered, when it is wanted, and when it moves."""

    offered: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def settle(self) -> bool:
        """Work out moves that are known now; whether there were any."""
        start = len(self.moved)
        for beat in range(start, min(len(self.offered), len(self.wanted))):
            self.moved.append(max(self.offered[beat], self.wanted[beat]))
        return len(self.moved) > start


class Stage:
    """A module between links."""

    def __init__(self, inputs: Sequence[Link], outputs: Sequence[Link]) -> None:
        """Join the links."""
        self.links = [*inputs, *outputs]
        for link in self.links:
            link.stages.append(self)

    def advance(self) -> None:
        """Append every offer and want that follows from moves known so far."""
        raise NotImplementedError


def run(stages: Sequence[Stage]) -> None:
    """Work out all moves that follow from each other."""
    pending = deque(stages)
    waiting = set(stages)
    while pending:
        stage = pending.popleft()
        waiting.discard(stage)
        before = [_known(link) for link in stage.links]
        stage.advance()
        for link, known in zip(stage.links, before, strict=True):
            link.settle()
            if _known(link) != known:
                for other in link.stages:
                    if other not in waiting:
                        waiting.add(other)
                        pending.append(other)


def _known(link: Link) -> int:
    return len(link.offered) + len(link.wanted) + len(link.moved)
