# SPDX-License-Identifier: Apache-2.0
"""Every cycle of a design without simulating it: times of transfers by their dependencies.

All modules are elastic: a transfer happens in the first cycle in which its producer offers and its
consumer takes. Both times follow from earlier transfers by maxima and constant delays, because a
module never stops half way (it starts only with input and room for its results). So the times of
all transfers follow one by one; where they do not, the circuit is in deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence

from .links import Link, Stage
from .plan import MapTiming, WindowTiming


class Source(Stage):
    """Offers a beat every cycle, ``beats`` in all."""

    def __init__(self, out: Link, beats: int) -> None:
        """``beats`` over all frames."""
        super().__init__((), (out,))
        self.out, self.beats = out, beats

    def advance(self) -> None:
        """One cycle after the last move."""
        out = self.out
        while len(out.offered) < self.beats and len(out.offered) == len(out.moved):
            out.offered.append(out.moved[-1] + 1 if out.moved else 0)
            out.settle()


class Sink(Stage):
    """Takes everything at once."""

    def __init__(self, source: Link) -> None:
        """``source`` is drained."""
        super().__init__((source,), ())
        self.source = source

    def advance(self) -> None:
        """As soon as offered."""
        link = self.source
        for beat in range(len(link.wanted), len(link.offered)):
            link.wanted.append(link.offered[beat])
        link.settle()


class Fork(Stage):
    """Gives each beat to all branches in the same cycle."""

    def __init__(self, source: Link, branches: Sequence[Link]) -> None:
        """``branches`` are queues."""
        super().__init__((source,), branches)
        self.source, self.branches = source, branches

    def advance(self) -> None:
        """When offered and wanted by all."""
        beat = len(self.source.wanted)
        while beat < len(self.source.offered) and all(
            len(branch.wanted) > beat for branch in self.branches
        ):
            when = max(self.source.offered[beat], *(b.wanted[beat] for b in self.branches))
            self.source.wanted.append(when)
            for branch in self.branches:
                branch.offered.append(when)
            beat += 1


class Queue(Stage):
    """The ``fifo`` module: ``depth`` beats in memory and one in a register."""

    def __init__(self, source: Link, out: Link, depth: int) -> None:
        """``depth`` beats in memory."""
        super().__init__((source,), (out,))
        self.source, self.out, self.depth = source, out, depth
        self.loaded: list[int] = []

    def advance(self) -> None:
        """A beat goes to the register one cycle after it came, or when the register empties."""
        source, out, loaded = self.source, self.out, self.loaded
        while len(loaded) < len(source.moved):
            beat = len(loaded)
            if beat and len(out.moved) < beat:
                break
            loaded.append(max(source.moved[beat] + 1, out.moved[beat - 1] if beat else 0))
            out.offered.append(loaded[-1] + 1)
        while len(source.wanted) <= len(source.moved):
            beat = len(source.wanted)
            if beat >= self.depth and len(loaded) <= beat - self.depth:
                break
            after = source.moved[beat - 1] + 1 if beat else 0
            room = loaded[beat - self.depth] + 1 if beat >= self.depth else 0
            source.wanted.append(max(after, room))


class Cut(Stage):
    """The ``cut`` module."""

    def __init__(self, source: Link, out: Link, pieces: int) -> None:
        """``pieces`` per beat."""
        super().__init__((source,), (out,))
        self.source, self.out, self.pieces = source, out, pieces

    def advance(self) -> None:
        """Piece after piece; the next beat enters while the last piece leaves."""
        source, out, pieces = self.source, self.out, self.pieces
        while len(out.offered) < len(source.moved) * pieces:
            piece = len(out.offered)
            if len(out.moved) < piece:
                break
            if piece % pieces == 0:
                out.offered.append(source.moved[piece // pieces] + 1)
            else:
                out.offered.append(out.moved[piece - 1] + 1)
            out.settle()
        while len(source.wanted) * pieces <= len(out.moved):
            beat = len(source.wanted)
            source.wanted.append(out.moved[beat * pieces - 1] if beat else 0)


class Collect(Stage):
    """The ``collect`` module; the last of ``words`` beats takes ``last`` pieces."""

    def __init__(self, source: Link, out: Link, pieces: int, words: int, last: int) -> None:
        """As the module's parameters."""
        super().__init__((source,), (out,))
        self.source, self.out = source, out
        self.sizes = [pieces] * (words - 1) + [last]
        self.piece = 0

    def advance(self) -> None:
        """A full beat is offered one cycle after its last piece."""
        source, out = self.source, self.out
        while True:
            beat = len(out.offered)
            size = self.sizes[beat % len(self.sizes)]
            if len(source.moved) > len(source.wanted) - 1 and self.piece < size:
                wanted = source.moved[-1] + 1 if source.moved else 0
                if self.piece == 0 and beat:
                    if len(out.moved) < beat:
                        return
                    wanted = max(wanted, out.moved[beat - 1])
                if len(source.wanted) > len(source.moved):
                    return
                source.wanted.append(wanted)
                self.piece += 1
                source.settle()
                continue
            if self.piece == size and len(source.moved) == len(source.wanted):
                out.offered.append(source.moved[-1] + 1)
                out.settle()
                self.piece = 0
                continue
            return


class Mapping(Stage):
    """A module with `MapTiming`."""

    def __init__(self, sources: Sequence[Link], out: Link, timing: MapTiming) -> None:
        """``sources`` in the order of the module's inputs."""
        super().__init__(sources, (out,))
        self.sources, self.out, self.timing = sources, out, timing
        self.pushed: list[int] = []
        self.steps = 0
        self.last = -timing.pace

    def advance(self) -> None:
        """When all inputs of a step are offered and the queue has room for its beat."""
        before = -1
        while before != self.steps + len(self.out.offered):
            before = self.steps + len(self.out.offered)
            self._take()
            _offer(self.out, self.pushed, self.timing.latency, self.timing.hop)

    def _take(self) -> None:
        timing, out = self.timing, self.out
        while True:
            turn = self.steps % len(timing.order)
            needed = [self.sources[i] for i in timing.order[turn]]
            if any(len(link.offered) <= len(link.wanted) for link in needed):
                return
            pushes = not timing.pushes or timing.pushes[turn]
            # beats that must have left before there is room for this step's
            credit = len(self.pushed) + timing.burst - timing.depth if pushes else 0
            if credit > len(out.moved):
                return
            offers = [link.offered[len(link.wanted)] for link in needed]
            when = max([self.last + timing.pace, *offers])
            if credit > 0:
                when = max(when, out.moved[credit - 1] + 1)
            if pushes:
                self.pushed += [when + beat for beat in range(timing.burst)]
            self.last = when
            self.steps += 1
            for link in needed:
                link.wanted.append(when)
                link.settle()


def _offer(out: Link, pushed: Sequence[int], latency: int, hop: int = 2) -> None:
    """Offers of an output queue: one cycle to its register, or when that empties, and one more.

    With ``hop`` 1 there is no queue, and a beat comes only after the one before has left.
    """
    while len(out.offered) < len(pushed) and len(out.moved) == len(out.offered):
        beat = len(out.offered)
        loaded = max(pushed[beat] + latency + hop - 1, out.moved[-1] if beat else 0)
        out.offered.append(loaded + 1)
        out.settle()


class Windowed(Stage):
    """A module with `WindowTiming`."""

    def __init__(self, source: Link, out: Link, timing: WindowTiming) -> None:
        """One input, one output."""
        super().__init__((source,), (out,))
        self.source, self.out, self.timing = source, out, timing
        self.pixel = 0
        self.group = 0
        self.last_end: int | None = None
        self.pushed: list[int] = []
        self.released: list[tuple[int, int]] = [(0, -1)]
        self.at = 0

    def advance(self) -> None:
        """Take words while there is room, start groups while there is input."""
        before = -1
        while before != self._progress():
            before = self._progress()
            self._take()
            self._start()
            _offer(self.out, self.pushed, 0, self.timing.hop)

    def _progress(self) -> int:
        return len(self.source.wanted) + len(self.pushed) + len(self.out.offered)

    def _take(self) -> None:
        timing, source = self.timing, self.source
        while len(source.wanted) <= len(source.moved):
            word = len(source.wanted)
            goal = word // timing.words - timing.capacity + 1
            while self.released[self.at][0] < goal and self.at + 1 < len(self.released):
                self.at += 1
            if self.released[self.at][0] < goal:
                return
            after = source.moved[word - 1] + 1 if word else 0
            source.wanted.append(max(after, self.released[self.at][1] + 1))
            source.settle()

    def _start(self) -> None:
        timing, source, out = self.timing, self.source, self.out
        while True:
            frame, place = divmod(self.pixel, len(timing.need))
            pixels = frame * timing.in_pixels + timing.need[place]
            if len(source.moved) < pixels * timing.words:
                return
            credit = len(self.pushed) + timing.reserve - timing.depth
            if credit > len(out.moved):
                return
            start = source.moved[pixels * timing.words - 1] + 1
            if self.last_end is not None:
                start = max(start, self.last_end + 1)
            end = start + timing.steps_of(place) - 1
            if self.last_end is not None:
                end = max(end, self.last_end + timing.pace)
            if credit > 0:
                end = max(end, out.moved[credit - 1] + 1)
            self.last_end = end
            for beat in range(timing.groups[self.group]):
                self.pushed.append(end + timing.latency + beat)
            self.group += 1
            if self.group == len(timing.groups):
                self.group = 0
                free = frame * timing.in_pixels + timing.release[place]
                if free > self.released[-1][0]:
                    self.released.append((free, end))
                self.pixel += 1
