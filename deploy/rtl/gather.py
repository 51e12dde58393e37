# SPDX-License-Identifier: Apache-2.0
"""A stream in another order: blocks of beats are kept in a ring and read along nested loops.

One module serves transposition, repetition (upsampling by whole factors) and the second tensor of
a product that is smaller than the first. A block is read when all of it has come; the ring holds
two, so that one is written while the other is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from .elementwise import queue, store_of
from .plan import Port, RtlPlan, WindowTiming, bits_for, twos

Loops = Sequence[tuple[int, int]]
"""(count, stride in beats) of each loop over a block, innermost first."""


@dataclass(frozen=True, eq=False)
class Gather:
    """What the template prints, and when beats move.

    Attributes:
        values: literals by name.
        timing: cycles.
    """

    values: dict[str, Any]
    timing: WindowTiming


def plan_gather(beats: int, block: int, loops: Loops) -> Gather:
    """Order of a frame of ``beats`` input beats in blocks of ``block``, each read along ``loops``.

    Args:
        beats: input beats per frame, a multiple of ``block``.
        block: beats that are there before the first of them is read.
        loops: (count, stride) innermost first; stride 0 repeats.
    """
    assert beats % block == 0, "whole blocks"
    address_bits = bits_for(2 * block - 1)
    capacity = 1 << address_bits
    turns = [(count, stride) for count, stride in loops if count > 1]
    # when a loop goes on, all loops inside it go back to their start
    steps, back = [], 0
    for count, stride in turns:
        steps.append(stride - back)
        back += (count - 1) * stride
    reads = prod(count for count, _ in turns)
    blocks = beats // block
    depth = queue(1)
    values = {
        "block": block, "capacity": capacity, "word_bits": 0, "address_bits": address_bits,
        "space_bits": bits_for(capacity), "depth": depth, "store": store_of(depth),
        "loops": [(count, bits_for(count - 1), twos(step, address_bits))
                  for (count, _), step in zip(turns, steps, strict=True)],
        "next_block": twos(block - back, address_bits),
        "counters": 2 * address_bits + 2 * bits_for(capacity)
        + sum(bits_for(count - 1) for count, _ in turns),
    }  # fmt: skip
    need = tuple(block * (i + 1) for i in range(blocks) for _ in range(reads))
    release = tuple(
        block * (i + int(read == reads - 1)) for i in range(blocks) for read in range(reads)
    )
    timing = WindowTiming(1, beats, capacity, need, release, (1,), 1, 1, 1, 1, depth)
    return Gather(values, timing)


def gather_module(
    kind: str, source: Port, output: Port, block: int, loops: Loops
) -> RtlPlan:
    """A node that only changes the order of its input."""
    made = plan_gather(source.beats, block, loops)
    assert len(made.timing.need) == output.beats, "the loops make the whole output"
    return RtlPlan(kind, made.values, (source,), output, made.timing)
