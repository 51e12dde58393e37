# SPDX-License-Identifier: Apache-2.0
"""The cycles of a design, and queues deep enough for it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from .design import INPUT, OUTPUT, Design, Edge
from .links import Link, Stage, run
from .plan import Timing, WindowTiming
from .timing import Collect, Cut, Fork, Queue, Sink, Source, Windowed
from .timing import Mapping as MapStage

FRAMES = 4
"""Frames that are timed; the interval is the distance of the last two."""
UNBOUNDED = 1 << 30
SHALLOW = 2


@dataclass(frozen=True)
class Schedule:
    """When a design does what, with input always there and output always taken.

    Attributes:
        latency: cycles from the first input beat to the last output beat of the first frame, both
            counted.
        interval: cycles between the last output beats of the last two frames.
        ends: cycle of the last output beat of every frame; cycle 0 takes the first input beat.
        busy: per module, cycles per frame that it cannot do without.
        waiting: per queue, the most beats that were in its memory.
    """

    latency: int
    interval: int
    ends: tuple[int, ...]
    busy: Mapping[str, int]
    waiting: Mapping[tuple[str, str, int], int]


def key(edge: Edge) -> tuple[str, str, int]:
    """The name of an edge."""
    return edge.source, edge.target, edge.slot


def schedule(
    design: Design, frames: int = FRAMES, *, unbounded: Set[tuple[str, str, int]] = frozenset()
) -> Schedule | None:
    """Cycles of a design; None when it comes to a deadlock.

    Args:
        design: the circuit.
        frames: how many frames to follow, at least 2.
        unbounded: queues that get endless memory.
    """
    stages: list[Stage] = []
    queues: dict[tuple[str, str, int], Queue] = {}
    inputs: dict[str, dict[int, Link]] = {}
    for edge in design.edges:
        inputs.setdefault(edge.target, {})[edge.slot] = Link()
    starts = {INPUT: Link(), **{module.node.name: Link() for module in design.modules}}
    stages.append(Source(starts[INPUT], design.input.beats * frames))
    for source, start in starts.items():
        edges = design.leaving(source)
        branches = [Link() for _ in edges] if len(edges) > 1 else [start]
        if len(edges) > 1:
            stages.append(Fork(start, branches))
        for edge, branch in zip(edges, branches, strict=True):
            end = inputs[edge.target][edge.slot]
            chain: list[Link] = [branch]
            count = int(edge.queue > 0) + int(edge.cut > 1) + int(edge.collect is not None)
            count += int(edge.repeat is not None)
            chain += [Link() for _ in range(max(0, count - 1))]
            chain += [end] if count else []
            if not count:
                # no module between: the two ends are one link
                inputs[edge.target][edge.slot] = branch
                continue
            at = 0
            if edge.queue:
                depth = UNBOUNDED if key(edge) in unbounded else edge.queue
                queue = Queue(chain[at], chain[at + 1], depth)
                queues[key(edge)] = queue
                stages.append(queue)
                at += 1
            if edge.cut > 1:
                stages.append(Cut(chain[at], chain[at + 1], edge.cut))
                at += 1
            if edge.collect:
                c = edge.collect
                stages.append(Collect(chain[at], chain[at + 1], c.pieces, c.words, c.last))
                at += 1
            if edge.repeat:
                stages.append(Windowed(chain[at], chain[at + 1], edge.repeat.timing))
    for module in design.modules:
        links = [inputs[module.node.name][i] for i in range(len(module.plan.inputs))]
        timing = module.plan.timing
        out = starts[module.node.name]
        if isinstance(timing, WindowTiming):
            stages.append(Windowed(links[0], out, timing))
        else:
            stages.append(MapStage(links, out, timing))
    last = inputs[OUTPUT][0]
    stages.append(Sink(last))
    run(stages)
    if len(last.moved) < design.output.beats * frames:
        return None
    beats = design.output.beats
    # a border may be made before the first input beat is taken
    begin = starts[INPUT].moved[0]
    ends = tuple(last.moved[beats * (frame + 1) - 1] - begin for frame in range(frames))
    return Schedule(
        ends[0] + 1,
        ends[-1] - ends[-2],
        ends,
        {module.node.name: busy(module.plan.timing) for module in design.modules},
        {name: _deepest(queue) for name, queue in queues.items()},
    )


def busy(timing: Timing) -> int:
    """Cycles per frame that a module needs at least."""
    if isinstance(timing, WindowTiming):
        pixels = len(timing.need)
        cycles = pixels * len(timing.groups) * max(timing.pace, timing.steps)
        if timing.row:
            each, first = timing.row
            rows = pixels // each
            cycles += rows * (max(first, timing.pace) - max(timing.pace, timing.steps))
        return max(cycles, timing.words * timing.in_pixels)
    return timing.steps * timing.pace


def _deepest(queue: Queue) -> int:
    """Most beats that had come and not gone to the register, counted after each arrival."""
    most = left = 0
    for beat, when in enumerate(queue.source.moved):
        while left < len(queue.loaded) and queue.loaded[left] < when:
            left += 1
        most = max(most, beat + 1 - left)
    return most


def with_deep_queues(design: Design) -> Design:
    """The design with queues that never slow it down.

    Of the branches of a fork the one that needs least (the path with the layers, whose rings are
    memory enough) gets a queue of `SHALLOW`. The bound of all others: the most beats that ever wait
    in a queue of endless memory, with input always there and output always taken, over the first
    frames. A queue of that depth acts as the endless one.
    """
    free = schedule(design, unbounded=frozenset(key(edge) for edge in design.edges))
    assert free is not None, "endless queues cannot come to a deadlock"
    sources = {source for source, _, _ in free.waiting}
    main = {
        min((name for name in free.waiting if name[0] == source), key=lambda n: free.waiting[n])
        for source in sources
    }
    shallow = design.with_queues(dict.fromkeys(main, SHALLOW))
    timed = schedule(shallow, unbounded=frozenset(free.waiting) - main)
    assert timed is not None, "a fork with one shallow queue cannot come to a deadlock"
    return shallow.with_queues(
        {name: max(SHALLOW, depth) for name, depth in timed.waiting.items() if name not in main}
    )


def least_queue(design: Design, name: tuple[str, str, int]) -> int:
    """The smallest depth of one queue at which the design does not come to a deadlock."""
    low, high = 1, next(edge.queue for edge in design.edges if key(edge) == name)
    while low < high:
        middle = (low + high) // 2
        if schedule(design.with_queues({name: middle}), 2) is None:
            low = middle + 1
        else:
            high = middle
    return low
