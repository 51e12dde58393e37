# SPDX-License-Identifier: Apache-2.0
"""Products with a constant matrix as a graph of adders that outputs share.

A node is ``left + (right << shift)`` or ``left - (right << shift)`` of earlier nodes; the first
nodes are the inputs. Every node is a linear form of the inputs, so its range is known exactly and
its wires are no wider. What is shifted leaves the low bits of ``left`` as they are: they cost
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..requant import Int64
from .plan import signed_bits

SHORT_BITS = 4
"""Adders of up to so many bits are LUTs and no carry chains after synthesis."""
Form = dict[int, int]
"""Coefficients by input, without zeros."""


class Term(NamedTuple):
    """``sign * (node << shift)``."""

    node: int
    shift: int
    sign: int


@dataclass(frozen=True)
class Adder:
    """``left + (right << shift)``, or the difference with ``minus``."""

    left: int
    right: int
    shift: int
    minus: bool


def width_of(low: int, high: int) -> int:
    """Bits of a number within ``low..high``: two's complement where it may be negative."""
    return signed_bits(low, high) if low < 0 else max(1, high.bit_length())


def chained(widths: list[int]) -> int:
    """How many adders of these bits are carry chains."""
    return sum(bits > SHORT_BITS for bits in widths)


def _sum(left: Form, right: Form, shift: int, minus: bool) -> Form:
    """The linear form of an adder."""
    found = dict(left)
    for i, value in right.items():
        total = found.get(i, 0) + (-(value << shift) if minus else value << shift)
        if total:
            found[i] = total
        else:
            found.pop(i, None)
    return found


class AdderGraph:
    """Adders over ``inputs`` equal-ranged inputs, and terms of them as outputs.

    Args:
        inputs: number of inputs.
        low: least value of an input.
        high: largest value of an input, above ``low``.

    Attributes:
        adders: per node its adder, None for inputs.
        outputs: one term per output; None for the constant 0.
    """

    def __init__(self, inputs: int, low: int, high: int) -> None:
        self.inputs, self.low, self.high = inputs, low, high
        self.adders: list[Adder | None] = [None] * inputs
        self.ranges: list[tuple[int, int]] = [(low, high)] * inputs
        self.widths: list[int] = [width_of(low, high)] * inputs
        self.depths: list[int] = [0] * inputs
        self.outputs: list[Term | None] = []
        self._forms: list[Form] = [{i: 1} for i in range(inputs)]

    def __len__(self) -> int:
        return len(self.adders)

    def width(self, node: int) -> int:
        """Bits of a node."""
        return self.widths[node]

    def signed(self, node: int) -> bool:
        """Whether a node may be negative."""
        return self.ranges[node][0] < 0

    def add(self, left: int, right: int, shift: int, minus: bool) -> int:
        """Append an adder; the new node."""
        form = _sum(self._forms[left], self._forms[right], shift, minus)
        rising = sum(v for v in form.values() if v > 0)
        falling = sum(v for v in form.values() if v < 0)
        self.ranges.append(
            (rising * self.low + falling * self.high, rising * self.high + falling * self.low)
        )
        self.widths.append(width_of(*self.ranges[-1]))
        self._forms.append(form)
        self.depths.append(1 + max(self.depths[left], self.depths[right]))
        self.adders.append(Adder(left, right, shift, minus))
        return len(self.adders) - 1

    def join(self, one: Term, other: Term) -> Term:
        """The sum of two terms, with a new adder; the lower of the two keeps its low bits."""
        if (one.shift, one.node) > (other.shift, other.node):
            one, other = other, one
        node = self.add(one.node, other.node, other.shift - one.shift, one.sign != other.sign)
        return Term(node, one.shift, one.sign)

    def joined(self, one: Term, other: Term) -> tuple[int, int]:
        """(highest bit, bits of the adder) of a sum, by the ranges of its operands alone."""
        if (one.shift, one.node) > (other.shift, other.node):
            one, other = other, one
        shift = other.shift - one.shift
        (low, high), (least, most) = self.ranges[one.node], self.ranges[other.node]
        if one.sign == other.sign:
            low, high = low + (least << shift), high + (most << shift)
        else:
            low, high = low - (most << shift), high - (least << shift)
        width = width_of(low, high)
        return width + one.shift, width - shift

    def live(self) -> list[int]:
        """Nodes that outputs depend on, in order."""
        found: set[int] = set()
        waiting = [term.node for term in self.outputs if term]
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            adder = self.adders[node]
            if adder:
                waiting += [adder.left, adder.right]
        return sorted(found)

    def adder_bits(self, node: int) -> int:
        """Bits that a node's adder computes; 0 for inputs and for operands side by side."""
        adder = self.adders[node]
        if adder is None or self.beside(adder):
            return 0
        return max(1, self.width(node) - adder.shift)

    def beside(self, adder: Adder) -> bool:
        """Whether the operands do not overlap, so that the sum is wires only."""
        left = adder.left
        return not adder.minus and not self.signed(left) and self.width(left) <= adder.shift

    def bits(self) -> list[int]:
        """Bits of every adder that something depends on."""
        return [bits for node in self.live() if (bits := self.adder_bits(node))]

    def size(self) -> tuple[int, int, int]:
        """(bits of all adders, adders, bits of all numbers that are subtracted somewhere)."""
        bits, live = self.bits(), self.live()
        subtracted = {a.right for node in live if (a := self.adders[node]) and a.minus}
        return sum(bits), len(bits), sum(self.widths[node] for node in subtracted)

    def matrix(self) -> Int64:
        """What the outputs compute, ``[outputs, inputs]``."""
        forms: dict[int, Form] = {}
        for node in self.live():
            adder = self.adders[node]
            forms[node] = (
                {node: 1} if adder is None
                else _sum(forms[adder.left], forms[adder.right], adder.shift, adder.minus)
            )  # fmt: skip
        found = np.zeros((len(self.outputs), self.inputs), np.int64)
        for row, term in enumerate(self.outputs):
            if term:
                for i, value in forms[term.node].items():
                    found[row, i] = term.sign * (value << term.shift)
        return found

    def finish(self) -> None:
        """Give back the memory that only `add` needs."""
        self._forms = []

    def evaluate(self, inputs: Iterable[int]) -> list[int]:
        """The outputs for one vector, adder by adder, each checked against its wires.

        Raises:
            OverflowError: a sum that its wires do not hold.
        """
        values = list(inputs)
        for node, adder in enumerate(self.adders):
            if adder is None:
                continue
            right = values[adder.right] << adder.shift
            values.append(values[adder.left] + (-right if adder.minus else right))
            low, high = self.ranges[node]
            if not low <= values[-1] <= high:
                raise OverflowError(f"node {node}: {values[-1]} is outside {low}..{high}")
        return [t.sign * (values[t.node] << t.shift) if t else 0 for t in self.outputs]


@dataclass(frozen=True)
class Pipeline:
    """Where registers stand in a graph, in slots: the logic before register 0, 1, ...

    Attributes:
        stages: registers on every path from the inputs to the outputs.
        slots: per live node, the slot in which it is computed; inputs at 0.
        born: per live node, the first slot that may read it from a register; 0 for what is the
            inputs' own.
        kept: per node that is read from a register, the last slot that does.
    """

    stages: int
    slots: dict[int, int]
    born: dict[int, int]
    kept: dict[int, int]

    def registers(self, node: int) -> range:
        """The slots whose registers hold a node."""
        if node not in self.kept:
            return range(0)
        return range(max(1, self.born[node]), self.kept[node] + 1)


def pipeline(graph: AdderGraph, levels: int) -> Pipeline:
    """Registers after every ``levels`` adders in a row; all outputs leave the last one together."""
    live = graph.live()
    depths: dict[int, int] = {}  # adders in a row; operands side by side add none
    for node in live:
        adder = graph.adders[node]
        depths[node] = (
            0 if adder is None
            else max(depths[adder.left], depths[adder.right]) + int(graph.adder_bits(node) > 0)
        )  # fmt: skip
    born = {node: -(-depth // levels) for node, depth in depths.items()}
    slots = {node: max(0, stage - 1) for node, stage in born.items()}
    ends = {term.node for term in graph.outputs if term}
    stages = max((born[node] for node in ends), default=0)
    kept: dict[int, int] = {}
    for node in live:
        adder = graph.adders[node]
        if adder is None:
            continue
        for operand in (adder.left, adder.right):
            if born[operand] <= slots[node]:
                kept[operand] = max(kept.get(operand, 0), slots[node])
    for node in ends:
        kept[node] = max(kept.get(node, 0), stages)
    return Pipeline(stages, slots, born, kept)


def register_bits(graph: AdderGraph, timed: Pipeline) -> int:
    """Flip-flops of a pipelined graph, without those of the inputs themselves."""
    return sum(graph.width(node) * len(timed.registers(node)) for node in timed.kept)
