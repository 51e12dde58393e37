# SPDX-License-Identifier: Apache-2.0
"""Cost of a network for any assignment of widths: totals, differences, slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .bits import MAX_BITS, BitWidth
from .module import QuantModule

Assignment = Mapping[BitWidth, int]


Cell = tuple[Mapping[str, float], frozenset[str]]
"""Cost of a node by metric, and the shared functions it needs."""


class Cells:
    """Cells of a term that are priced when first asked for: of many widths, most never are."""

    def __init__(self, price: Callable[[tuple[int, ...]], Cell]) -> None:
        self.price, self.known = price, dict[tuple[int, ...], Cell]()

    def __getitem__(self, bits: tuple[int, ...]) -> Cell:
        """Cost and shared functions at these bits."""
        if bits not in self.known:
            self.known[bits] = self.price(bits)
        return self.known[bits]

    def costs(self) -> Mapping[tuple[int, ...], Mapping[str, float]]:
        """The first part of the cells."""
        return _Part(self, 0)

    def calls(self) -> Mapping[tuple[int, ...], frozenset[str]]:
        """The second part."""
        return _Part(self, 1)


class _Part(Mapping[tuple[int, ...], Any]):
    """One half of every cell."""

    def __init__(self, cells: Cells, part: int) -> None:
        self.cells, self.part = cells, part

    def __getitem__(self, bits: tuple[int, ...]) -> Any:
        return self.cells[bits][self.part]

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return iter(self.cells.known)

    def __len__(self) -> int:
        return len(self.cells.known)


@dataclass(frozen=True, eq=False)
class Term:
    """Cost of one node as a table over the widths it depends on.

    Attributes:
        name: the node.
        widths: its weight and activation width, or only one of them; then the numbers of channels
            of its input and output where these may be pruned.
        table: metrics by the bits of ``widths``, in that order.
        calls: shared functions that the node needs, by the same bits.
    """

    name: str
    widths: tuple[BitWidth, ...]
    table: Mapping[tuple[int, ...], Mapping[str, float]]
    calls: Mapping[tuple[int, ...], frozenset[str]] = field(default_factory=dict)

    def bits(self, assignment: Assignment) -> tuple[int, ...]:
        """Bits of its widths; widths not in the assignment count as they are now."""
        return tuple(assignment.get(w, w.integer) for w in self.widths)

    def at(self, assignment: Assignment, metric: str) -> float:
        """The node's own cost for an assignment."""
        return self.table[self.bits(assignment)][metric]

    def called(self, assignment: Assignment) -> frozenset[str]:
        """Shared functions it needs for an assignment."""
        return self.calls.get(self.bits(assignment), frozenset())


class NetworkCost:
    """Cost as a sum of terms, each over a few widths, and of functions that they share.

    Attributes:
        name: the target.
        metrics: metrics it can price.
        proxies: further metrics that a budget may limit; no device pays them, so bits that cost
            only these count as free.
        terms: one per node.
        shared: cost of a shared function, by name and metric; a network pays it once.
        fixed: what any network pays, by metric.
    """

    def __init__(
        self,
        name: str,
        metrics: Sequence[str],
        terms: Iterable[Term],
        shared: Mapping[str, Mapping[str, float]] | None = None,
        fixed: Mapping[str, float] | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.metrics = tuple(metrics)
        self.proxies = tuple(proxies)
        self.terms = tuple(terms)
        self.shared = shared if shared is not None else {}  # tables that are filled later add to it
        self.fixed = dict(fixed or {})
        self._of: dict[BitWidth, list[Term]] = {}
        for term in self.terms:
            for width in dict.fromkeys(term.widths):
                self._of.setdefault(width, []).append(term)
        self._all = {w: MAX_BITS if not w.fixed else w.integer for w in self._of}

    @property
    def limited(self) -> tuple[str, ...]:
        """Everything that a budget may limit."""
        return (*self.metrics, *self.proxies)

    def total(self, metric: str, bits: Assignment | None = None) -> float:
        """Cost of the network; widths not in ``bits`` count as they are now."""
        bits = bits or {}
        called = frozenset[str]().union(*(term.called(bits) for term in self.terms))
        return (
            self.fixed.get(metric, 0.0)
            + sum(self.shared[name].get(metric, 0.0) for name in sorted(called))
            + sum(term.at(bits, metric) for term in self.terms)
        )

    def reference(self, metric: str) -> float:
        """Cost with every free width at 8: the unit of the strength."""
        return self.total(metric, self._all)

    def difference(self, metric: str, width: BitWidth, bits: int) -> float:
        """C(bits) - C(next allowed bits) for one width, the others as they are, nothing shared."""
        lower = max(width.below(bits), 1)
        if lower not in width.allowed and not all(
            t.bits({width: lower}) in t.table for t in self._of.get(width, [])
        ):
            bits, lower = width.above(bits), bits
        return sum(
            t.at({width: bits}, metric) - t.at({width: lower}, metric)
            for t in self._of.get(width, [])
        )

    def slope(self, metric: str, width: BitWidth, bits: int) -> float:
        """Best saving per bit of any joint move down that lowers ``width`` below ``bits``.

        A table with plateaus has differences of zero that hide the step behind them; the chord to
        the best lower point does not. What the partner would save alone is not counted.
        """
        return sum(self._chord(term, metric, width, bits) for term in self._of.get(width, []))

    @staticmethod
    def _chord(term: Term, metric: str, width: BitWidth, bits: int) -> float:
        other = _partner(term, width)
        positions: list[dict[BitWidth, int]] = [{}]
        if other is not None and not other.frozen:
            positions = [{other: theirs} for theirs in other.allowed if theirs <= other.integer]
        best = 0.0
        for position in positions:
            alone = term.at({width: bits, **position}, metric)
            moved = sum(w.integer - theirs for w, theirs in position.items())
            for own in [b for b in width.allowed if b < bits] or [bits - 1]:
                saved = alone - term.at({width: own, **position}, metric)
                best = max(best, saved / (bits - own + moved))
        return best

    def share(self, metric: str, width: BitWidth) -> float:
        """Average cost of one bit of ``width``, between its limits and those of its partners."""
        if width.hi == width.lo:
            return 0.0
        total = 0.0
        for term in self._of.get(width, []):
            other = _partner(term, width)
            ends: list[dict[BitWidth, int]] = (
                [{}] if other is None or other.frozen else [{other: other.hi}, {other: other.lo}]
            )
            total += sum(
                term.at({width: width.hi, **end}, metric)
                - term.at({width: width.lo, **end}, metric)
                for end in ends
            ) / len(ends)
        return total / (width.hi - width.lo)


def _partner(term: Term, width: BitWidth) -> BitWidth | None:
    """The width of bits that makes plateaus with another one; numbers of channels make none."""
    if width.kind == "channels":
        return None
    return next((w for w in term.widths if w is not width and w.kind != "channels"), None)


class BitOps(NetworkCost):
    """The paper's proxy: mean weight width times mean activation width of the free variables."""

    def __init__(self, module: QuantModule) -> None:
        super().__init__("bitops", ("bitops",), ())
        free = [w for w in module.widths if not w.fixed]
        self._weights = [w for w in free if w.kind == "weight"]
        self._acts = [w for w in free if w.kind == "act"]

    @staticmethod
    def _mean(widths: Sequence[BitWidth], bits: Assignment) -> float:
        values = [bits.get(w, w.integer) for w in widths]
        return sum(values) / len(values) if values else 1.0

    def total(self, metric: str, bits: Assignment | None = None) -> float:
        """See `NetworkCost.total`."""
        return self._mean(self._weights, bits or {}) * self._mean(self._acts, bits or {})

    def reference(self, metric: str) -> float:
        """64: every width at 8."""
        return float(MAX_BITS * MAX_BITS)

    def difference(self, metric: str, width: BitWidth, bits: int) -> float:
        """The mean of the other kind, as in the released rule (not divided by the layer count)."""
        return self._mean(self._acts if width.kind == "weight" else self._weights, {})

    def slope(self, metric: str, width: BitWidth, bits: int) -> float:
        """The difference: the proxy has no plateaus."""
        return self.difference(metric, width, bits)

    def share(self, metric: str, width: BitWidth) -> float:
        """The difference."""
        return self.difference(metric, width, MAX_BITS)
