# SPDX-License-Identifier: Apache-2.0
"""Looks up what a node costs on a target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .errors import HwModelError
from .files import available, load_record, parse, read_file, sha256
from .table import Row, Table
from .work import Work

Key = tuple[str, int, int, bool]


class GraphLike(Protocol):
    """Anything that lists the work of its nodes by name, in order."""

    def works(self) -> Sequence[tuple[str, Work]]:
        """Name and work of every node that computes something."""


@dataclass(frozen=True)
class Cost:
    """Predicted cost of one node. ``energy_uj`` is None when the target's energy is unknown."""

    instructions: float
    cycles: float
    energy_uj: float | None
    code_bytes: int
    const_bytes: int = 0

    @property
    def flash_bytes(self) -> int:
        """Code and constants together."""
        return self.code_bytes + self.const_bytes


@dataclass(frozen=True)
class NodeCost:
    """A node's name and its predicted cost."""

    name: str
    cost: Cost


@dataclass(frozen=True)
class Widths:
    """Bit-widths a table has measured for one kind of node, each sorted."""

    weight_bits: tuple[int, ...]
    act_bits: tuple[int, ...]


class HwModel:
    """The measured cost of one target; make one with `load`."""

    def __init__(self, table: Table, table_hash: str) -> None:
        """Index the rows; two rows for the same widths raise `HwModelError`."""
        self.table = table
        self.table_hash = table_hash
        self._rows: dict[Key, Row] = {}
        for row in table.row:
            for key in _keys(row):
                if key in self._rows:
                    raise HwModelError(
                        f"table {table.name}: two rows for {_describe(key)}; one row per width "
                        f"is supported; remove one"
                    )
                self._rows[key] = row

    @property
    def name(self) -> str:
        """Target name, as in ``--target``."""
        return self.table.name

    @property
    def clock_mhz(self) -> float:
        """Clock of the target's board; cycles / clock_mhz are microseconds."""
        return self.table.clock_mhz

    @property
    def nj_per_cycle(self) -> float | None:
        """Energy of one cycle, None when unknown."""
        return self.table.energy.nj_per_cycle

    def kinds(self) -> tuple[str, ...]:
        """Kinds of node the table has rows for, sorted."""
        return tuple(sorted({row.kind for row in self.table.row}))

    def widths(self, kind: str) -> Widths:
        """The widths measured for ``kind``; an unknown kind raises and lists the known ones."""
        rows = [row for row in self.table.row if row.kind == kind]
        if not rows:
            raise HwModelError(
                f"table {self.name}: no rows for {kind!r}; it has {', '.join(self.kinds())}; "
                f"measure the target again (adaqat measure --target {self.name})"
            )
        return Widths(
            weight_bits=tuple(sorted({b for row in rows for b in row.weight_bits})),
            act_bits=tuple(sorted({b for row in rows for b in row.act_bits})),
        )

    def row(self, kind: str, weight_bits: int, act_bits: int, act_signed: bool) -> Row:
        """The row for these widths; a width that was not measured raises."""
        key = (kind, weight_bits, act_bits, act_signed)
        if key not in self._rows:
            widths = self.widths(kind)
            raise HwModelError(
                f"table {self.name}: no row for {_describe(key)}; it has weight bits "
                f"{list(widths.weight_bits)} and activation bits {list(widths.act_bits)}; "
                f"choose one of these or measure the target again"
            )
        return self._rows[key]

    def node_cost(
        self,
        kind: str,
        weight_bits: int,
        act_bits: int,
        act_signed: bool,
        work: Mapping[str, float],
        const_bytes: int = 0,
    ) -> Cost:
        """Predicted cost of a node that does ``work`` (feature name -> count).

        The sum over features of count times the row's coefficient. A kind may have several forms
        (a convolution with and without a border) that report different features, so a node may
        leave features of the row out. Raises `HwModelError` when the widths were not measured, or
        when ``work`` names a feature without a coefficient: it would count as free.
        """
        row = self.row(kind, weight_bits, act_bits, act_signed)
        unpriced = sorted(set(work) - set(row.features))
        if unpriced:
            raise HwModelError(
                f"table {self.name}: {kind}: no price for {', '.join(unpriced)}; the row has "
                f"{', '.join(sorted(row.features))}; measure the target again with this version"
            )
        instructions = sum(count * row.features[name][0] for name, count in work.items())
        cycles = sum(count * row.features[name][1] for name, count in work.items())
        per_cycle = self.nj_per_cycle
        energy_uj = None if per_cycle is None else cycles * per_cycle / 1000
        return Cost(instructions, cycles, energy_uj, row.code_bytes, const_bytes)

    def cost(self, graph: GraphLike) -> list[NodeCost]:
        """Predicted cost of every node of a graph, in its order."""
        return [
            NodeCost(
                name,
                self.node_cost(
                    work.kind,
                    work.weight_bits,
                    work.act_bits,
                    work.act_signed,
                    work.features,
                    work.const_bytes,
                ),
            )
            for name, work in graph.works()
        ]


def _keys(row: Row) -> list[Key]:
    return [
        (row.kind, weight_bits, act_bits, act_signed)
        for weight_bits in row.weight_bits
        for act_bits in row.act_bits
        for act_signed in row.act_signed
    ]


def _describe(key: Key) -> str:
    kind, weight_bits, act_bits, act_signed = key
    sign = "signed" if act_signed else "unsigned"
    return f"{kind} with {weight_bits}-bit weights and {act_bits}-bit {sign} activations"


def names() -> tuple[str, ...]:
    """Targets with a measured cost table, sorted."""
    return available("tables")


def load(name: str) -> HwModel:
    """The measured cost model of a target; raises `HwModelError` listing the known ones."""
    table, table_hash = load_record("tables", name, Table)
    return HwModel(table, table_hash)


def load_table(path: Path) -> HwModel:
    """A cost model from a table file outside the package, as ``adaqat measure`` writes it."""
    text = read_file(path)
    return HwModel(parse(text, Table, str(path)), sha256(text))
