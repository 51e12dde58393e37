# SPDX-License-Identifier: Apache-2.0
"""What the RTL templates print, and how modules behave in time.

Streams carry beats of ``lanes`` channels, the first channel in the lowest bits; ``lanes`` always
divides the channels, so that a stream never holds padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LUT_MEMORY_BITS = 1024
"""Constants of up to this many bits are taken to be built from LUTs, larger ones from block RAM."""


@dataclass(frozen=True)
class ScaleWidths:
    """Widths of a multiplying requantiser that other networks' constants must fit.

    Attributes:
        shift: places of the point.
        m_bits: bits of a factor.
        b_bits: bits of an addend.
    """

    shift: int
    m_bits: int
    b_bits: int


@dataclass(frozen=True)
class Fold:
    """How much of a node works at once.

    Attributes:
        pe: output channels computed at once.
        simd: input channels read at once.
        serial: whether requantisers and sums multiply bit by bit: small, a cycle per bit.
        deep: whether registers stand between memories and products: faster clocks on families
            with slow block memories.
        ahead: doublings of the input ring beyond the least that works, in place of a queue.
        unrolled: all products of a window at once, the weights as a graph of adders; ``pe`` is
            then the number of results that leave at once, ``simd`` means nothing.
        levels: adders between registers of such a graph.
        reload: whether weights and requantisation are in memories that can be written.
        widths: those of the requantiser of a circuit that exists, for networks written to it.
    """

    pe: int = 1
    simd: int = 1
    serial: bool = False
    deep: bool = False
    ahead: int = 0
    unrolled: bool = False
    levels: int = 2
    reload: bool = False
    widths: ScaleWidths | None = None


@dataclass(frozen=True)
class Port:
    """One stream of a module.

    Attributes:
        lanes: channels per beat.
        segment: channels that are packed together; a new beat starts at each segment, and the last
            beat of one is filled up with zeros where ``lanes`` does not divide it (inputs only).
        channels: channels per pixel.
        pixels: pixels per frame.
        bits: bits of one code.
        block: beats of a block that is given several times (inputs only).
        times: how often each block is given, in a row.
    """

    lanes: int
    segment: int
    channels: int
    pixels: int
    bits: int
    block: int = 1
    times: int = 1

    @property
    def width(self) -> int:
        """Bits of one beat."""
        return self.lanes * self.bits

    @property
    def beats(self) -> int:
        """Beats per frame."""
        segments = self.channels // self.segment
        return self.pixels * segments * -(-self.segment // self.lanes)


@dataclass(frozen=True)
class Rom:
    """A constant memory, written beside the RTL as hexadecimal text.

    Attributes:
        name: suffix of its file.
        width: bits of one word.
        depth: number of words.
        note: what it holds.
        make: the words, not negative; called when they are printed.
        copies: memories with this content, each read at an address of its own.
    """

    name: str
    width: int
    depth: int
    note: str
    make: Callable[[], Sequence[int]]
    copies: int = 1

    @property
    def bits(self) -> int:
        """Bits in all."""
        return self.width * self.depth * self.copies


@dataclass(frozen=True)
class Table:
    """A small constant memory, printed inside the RTL.

    Attributes:
        width: bits of one word.
        depth: number of words.
        address_bits: bits of its address.
        digits: all words in one hexadecimal number, the first word lowest.
    """

    width: int
    depth: int
    address_bits: int
    digits: str

    @classmethod
    def of(cls, width: int, words: Sequence[int]) -> Table:
        """The table of these words, none of them negative."""
        number = 0
        for word in reversed(words):
            number = (number << width) | word
        return cls(width, len(words), bits_for(len(words) - 1), f"{number:x}")


@dataclass(frozen=True)
class WindowTiming:
    """Times of a module with an input ring and a window over it, all in clock cycles.

    Attributes:
        words: words written per input pixel.
        in_pixels: input pixels per frame.
        capacity: pixels in the ring.
        need: per output pixel, input pixels of the frame that must be there first.
        release: per output pixel, input pixels of the frame that its end sets free (all before).
        groups: per output pixel, beats of each group of results, in order.
        reserve: beats that must be free downstream before a group takes its last step.
        steps: cycles of one group.
        pace: least cycles from the end of one group to the end of the next.
        latency: from the last cycle of a group to the push of its first beat.
        depth: beats in the output queue.
        hop: cycles from the push of a beat to its offer.
        row: windows of a row, and the cycles that the first of them takes instead of ``steps``;
            None where all take the same.
    """

    words: int
    in_pixels: int
    capacity: int
    need: tuple[int, ...]
    release: tuple[int, ...]
    groups: tuple[int, ...]
    reserve: int
    steps: int
    pace: int
    latency: int
    depth: int
    hop: int = 2
    row: tuple[int, int] | None = None

    def steps_of(self, place: int) -> int:
        """Cycles of a group of the output pixel at ``place``."""
        return self.row[1] if self.row and place % self.row[0] == 0 else self.steps


@dataclass(frozen=True)
class MapTiming:
    """Times of a module that makes ``burst`` beats from single beats of some inputs.

    Attributes:
        order: cycle of input sets; step ``i`` takes one beat of every input in
            ``order[i % len(order)]``, of none where the set is empty.
        beats: output beats per frame.
        pace: least cycles from one step to the next.
        latency: cycles from taking the inputs to the push of the first beat.
        depth: beats in the output queue.
        burst: beats from one step, a cycle apart.
        hop: cycles from the push of a beat to its offer.
        pushes: per step of the cycle, whether it makes beats; empty where every one does.
    """

    order: tuple[tuple[int, ...], ...]
    beats: int
    pace: int
    latency: int
    depth: int
    burst: int = 1
    hop: int = 2
    pushes: tuple[bool, ...] = ()

    @property
    def steps(self) -> int:
        """Steps per frame."""
        making = self.beats // self.burst
        return making * len(self.pushes) // sum(self.pushes) if self.pushes else making


Timing = WindowTiming | MapTiming


@dataclass(frozen=True)
class RtlPlan:
    """Everything a Verilog template of an operator prints, and the module's time.

    Attributes:
        template: template name below ``verilog/ops``, without suffix; below ``verilog`` where it
            names a folder, as engines do that several operators share.
        values: literals by name.
        inputs: input streams.
        output: output stream.
        timing: cycle behaviour.
        roms: constants.
        proof: lines about bounds, printed above the module.
    """

    template: str
    values: Mapping[str, Any]
    inputs: tuple[Port, ...]
    output: Port
    timing: Timing
    roms: tuple[Rom, ...] = ()
    proof: tuple[str, ...] = ()


def bits_for(largest: int) -> int:
    """Bits of a counter that reaches ``largest``; at least 1."""
    return max(1, int(largest).bit_length())


def signed_bits(low: int, high: int) -> int:
    """Bits of a two's complement number within ``low..high``; at least 1."""
    magnitude = max(high, -low - 1, 0)
    return magnitude.bit_length() + 1


def twos(value: int, bits: int) -> int:
    """The unsigned code of a two's complement number."""
    return value & ((1 << bits) - 1)
