# SPDX-License-Identifier: Apache-2.0
"""Finds small adder graphs: two-term patterns that occur often become nodes of their own.

Weights are written in canonical signed digits, so that an output is a sum of terms
``sign * (input << shift)``. The pattern of two terms that saves most is taken out of all outputs
at once and becomes a term itself, until none occurs twice; what is left of each output is added up
from the narrowest terms on. The idea is that of Hartley ("Subexpression sharing in filters using
canonic signed digit multipliers", 1996), with patterns weighed by the bits that their operands
share.

Before that, a row of the matrix may be replaced by its difference from another row (or its sum with
one) where that has fewer digits. Several such graphs are made and the smallest is kept.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..requant import Int64
from .adder_graph import AdderGraph, Term, pipeline, register_bits

Pattern = tuple[int, int, int, int]
"""Left node, right node, shift of the right one, product of the signs."""
MOST_PAIRS = 1_500_000
"""Squares of the digits of every output, summed: what one search takes; the rest is cut."""
TRIALS_BELOW = 900
"""Matrices with fewer digits are tried with all methods, larger ones with one."""
CHAIN = 2
"""Most rows that are made from each other in a row."""
FEW_TERMS = 40
"""Sums of up to so many terms look at all pairs."""
REGISTER_SHARE = 0.1
"""What a flip-flop counts against a bit of an adder when graphs are compared."""


def signed_digits(value: int) -> list[tuple[int, int]]:
    """(shift, sign) of the canonical signed digits: no two neighbours, fewest digits."""
    found = []
    shift = 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            found.append((shift, digit))
            value -= digit
        value >>= 1
        shift += 1
    return found


def digit_count(row: Int64) -> int:
    """Signed digits of a row."""
    return sum(len(signed_digits(int(v))) for v in row)


class Search:
    """The terms of every output, and how often each pattern occurs in them.

    Args:
        graph: receives the nodes.
        rows: per output the terms to start from.
        weigh: whether patterns count by the bits that their operands share, or all the same.
    """

    def __init__(self, graph: AdderGraph, rows: list[list[Term]], weigh: bool) -> None:
        self.graph, self.weigh = graph, weigh
        # by output: sign by (node, shift), and shifts by node
        self.terms: list[dict[tuple[int, int], int]] = [{} for _ in rows]
        self.counts: dict[Pattern, int] = defaultdict(int)
        for terms, row in zip(self.terms, rows, strict=True):
            for term in row:
                for pattern in self._patterns(terms, (term.node, term.shift), term.sign):
                    self.counts[pattern] += 1
                terms[term.node, term.shift] = term.sign

    def run(self) -> list[list[Term]]:
        """Take patterns out until none occurs twice; what is left of every output."""
        heap = [(-self._worth(p, n), p) for p, n in self.counts.items() if n > 1]
        heapq.heapify(heap)
        while heap:
            worth, pattern = heapq.heappop(heap)
            count = self.counts.get(pattern, 0)
            if count < 2:
                continue
            real = -self._worth(pattern, count)
            if real > worth:
                # it has become rarer since it was put there; what becomes more frequent is put anew
                heapq.heappush(heap, (real, pattern))
                continue
            found = self._occurrences(pattern)
            if len(found) < 2:
                # occurrences that share a term were counted, but only one of them can go
                continue
            for risen in sorted(self._replace(pattern, found)):
                count = self.counts[risen]
                if count > 1:
                    heapq.heappush(heap, (-self._worth(risen, count), risen))
        return [
            [Term(node, shift, sign) for (node, shift), sign in sorted(terms.items())]
            for terms in self.terms
        ]

    def _worth(self, pattern: Pattern, count: int) -> int:
        """Adders saved, times the bits that both operands have, doubled; at least half a bit."""
        if not self.weigh:
            return count
        left, right, shift, _ = pattern
        graph = self.graph
        shared = min(graph.widths[left], graph.widths[right] + shift) - shift
        return (count - 1) * max(1, 2 * shared)

    def _patterns(
        self, terms: dict[tuple[int, int], int], place: tuple[int, int], sign: int
    ) -> list[Pattern]:
        """The patterns of one term with all others of its output."""
        node, shift = place
        return [
            (node, other, far - shift, sign * mark)
            if far > shift or (far == shift and other > node)
            else (other, node, shift - far, sign * mark)
            for (other, far), mark in terms.items()
        ]

    def _occurrences(self, pattern: Pattern) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
        """(output, left place, right place), no term in two of them."""
        left, right, shift, sign = pattern
        found = []
        for output, terms in enumerate(self.terms):
            taken: set[tuple[int, int]] = set()
            for node, low in sorted(place for place in terms if place[0] == left):
                one, other = (node, low), (right, low + shift)
                if (
                    other in terms and one not in taken and other not in taken
                    and terms[one] * terms[other] == sign
                ):  # fmt: skip
                    taken |= {one, other}
                    found.append((output, one, other))
        return found

    def _replace(
        self, pattern: Pattern, found: list[tuple[int, tuple[int, int], tuple[int, int]]]
    ) -> set[Pattern]:
        """Make the pattern a term; the patterns that occur more often now."""
        left, right, shift, sign = pattern
        counts = self.counts
        made = self.graph.add(left, right, shift, sign < 0)
        risen: set[Pattern] = set()
        for output, one, other in found:
            terms = self.terms[output]
            kept = terms.pop(one)
            for gone in self._patterns(terms, one, kept):
                counts[gone] -= 1
            for gone in self._patterns(terms, other, terms.pop(other)):
                counts[gone] -= 1
            place = (made, one[1])
            new = self._patterns(terms, place, kept)
            for come in new:
                counts[come] += 1
            risen.update(new)
            terms[place] = kept
        return risen


def total(graph: AdderGraph, terms: list[Term]) -> Term | None:
    """The sum of terms; None of none.

    Of all pairs the one whose sum reaches least high is joined first, and of those the one that
    takes fewest bits of an adder. Long sums join the two that reach least high.
    """

    def ranked(term: Term) -> tuple[int, int, int, Term]:
        top = graph.widths[term.node] + term.shift
        return top, graph.depths[term.node], -term.shift, term

    heap = [ranked(term) for term in terms]
    heapq.heapify(heap)
    while len(heap) > 1:
        if len(heap) > FEW_TERMS:
            one, other = heapq.heappop(heap)[-1], heapq.heappop(heap)[-1]
        else:
            _, _, one, other = min(
                (*graph.joined(a[-1], b[-1]), a[-1], b[-1])
                for i, a in enumerate(heap) for b in heap[:i]
            )  # fmt: skip
            heap = [entry for entry in heap if entry[-1] not in (one, other)]
        heapq.heappush(heap, ranked(graph.join(one, other)))
    return heap[0][-1] if heap else None


def parents(matrix: Int64) -> list[tuple[int, int, int]]:
    """(row, row it is made from or -1, sign) in an order in which the other row comes first."""
    left = list(range(len(matrix)))
    depth: dict[int, int] = {}
    found: list[tuple[int, int, int]] = []
    best = {row: (digit_count(matrix[row]), -1, 0) for row in left}
    while left:
        row = min(left, key=lambda r: (best[r][0], r))
        _, parent, sign = best[row]
        found.append((row, parent, sign))
        depth[row] = depth[parent] + 1 if parent >= 0 else 0
        left.remove(row)
        if depth[row] >= CHAIN:
            continue
        for other in left:
            for way in (1, -1):
                count = digit_count(matrix[other] - way * matrix[row]) + 1
                best[other] = min(best[other], (count, row, way))
    return found


def _graph(matrix: Int64, low: int, high: int, weigh: bool, differences: bool) -> AdderGraph:
    """One graph by one method."""
    outputs, inputs = matrix.shape
    graph = AdderGraph(inputs, low, high)
    order = parents(matrix) if differences else [(row, -1, 0) for row in range(outputs)]
    rest = matrix.copy()
    for row, parent, sign in order:
        if parent >= 0:
            rest[row] = matrix[row] - sign * matrix[parent]
    digits = [
        [
            Term(i, shift, sign)
            for i, value in enumerate(row.tolist())
            for shift, sign in signed_digits(value)
        ]
        for row in rest
    ]
    left: list[list[Term]] = [[] for _ in digits]
    for part in _parts(digits, inputs):
        for terms, found in zip(left, Search(graph, part, weigh).run(), strict=True):
            terms += found
    sums: dict[int, Term | None] = {}
    for row, parent, sign in order:
        terms = left[row]
        base = sums[parent] if parent >= 0 else None
        if base is not None:
            terms = [*terms, Term(base.node, base.shift, sign * base.sign)]
        sums[row] = total(graph, terms)
    graph.outputs = [sums[row] for row in range(outputs)]
    return graph


def _parts(digits: list[list[Term]], inputs: int) -> list[list[list[Term]]]:
    """The terms by ranges of inputs, as few as keep the search short."""
    pairs = sum(len(row) ** 2 for row in digits)
    count = min(inputs, -(-pairs // MOST_PAIRS))
    edges = [inputs * part // max(1, count) for part in range(count + 1)]
    return [
        [[term for term in row if first <= term.node < last] for row in digits]
        for first, last in pairwise(edges)
    ]


def search(matrix: Int64, low: int, high: int, levels: int = 1) -> AdderGraph:
    """The smallest graph found for ``matrix @ x`` with every ``low <= x[i] <= high``.

    The same arguments give the same graph. The time is bounded: it grows with the number of digits
    times the digits of an output, and matrices with too many of both are cut by inputs.

    Args:
        matrix: integers ``[outputs, inputs]``.
        low: least input.
        high: largest input.
        levels: adders between registers, which decides how many flip-flops a graph takes.
    """
    key = (matrix.shape, matrix.astype("<i8").tobytes(), low, high, levels)
    return _search(key)


@lru_cache(maxsize=256)
def _search(key: tuple[tuple[int, int], bytes, int, int, int]) -> AdderGraph:
    shape, data, low, high, levels = key
    matrix = np.frombuffer(data, "<i8").reshape(shape).astype(np.int64)
    small = sum(digit_count(row) for row in matrix) < TRIALS_BELOW
    methods = [(True, False), (False, False), (True, True), (False, True)]
    graphs = [_graph(matrix, low, high, *how) for how in (methods if small else methods[:1])]
    for graph in graphs:
        assert (graph.matrix() == matrix).all(), "an adder graph computes another matrix"
        graph.finish()
    return min(graphs, key=lambda graph: _size(graph, levels))


def _size(graph: AdderGraph, levels: int) -> float:
    return sum(graph.bits()) + REGISTER_SHARE * register_bits(graph, pipeline(graph, levels))
