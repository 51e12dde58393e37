# SPDX-License-Identifier: Apache-2.0
"""Looks up what a node costs on a target."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Protocol

from .board import Board, boards_of, load_board
from .compilers import compiler_here
from .core import load_core
from .errors import HwModelError
from .files import available, load_record, parse, read_file, sha256
from .memory import passes
from .neighbours import with_neighbours
from .table import Energy, Row, Table
from .work import Work

Key = tuple[str, int, int, bool]


class GraphLike(Protocol):
    """Anything that lists the work of its nodes by name, in order."""

    def works(self, kernels: Sequence[str]) -> Sequence[tuple[str, Work]]:
        """Name and work of every node that computes something, as these kernels count it."""


@dataclass(frozen=True)
class Cost:
    """Predicted cost of one node.

    ``cycles`` is None for a table without a cycle model, ``energy_uj`` without an energy figure.

    ``stall_cycles`` are waits for the board's flash on top, 0 when no board was asked for.
    ``code_bytes`` is the node's own function; ``shared`` are the functions it calls, by name,
    which a network holds once.
    """

    instructions: float
    cycles: float | None
    energy_uj: float | None
    code_bytes: int
    const_bytes: int = 0
    shared: Mapping[str, int] = field(default_factory=dict)
    stall_cycles: float = 0.0

    @property
    def flash_bytes(self) -> int:
        """The node's own code and constants together."""
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
    """The measured cost of one target; make one with `load`.

    Attributes:
        board: the board whose clock, flash and energy count; None for the table's own clock and
            energy, in memory without wait states.
    """

    def __init__(self, table: Table, table_hash: str, board: Board | None = None) -> None:
        """Index the rows; two rows for the same widths raise `HwModelError`."""
        self.table = table
        self.table_hash = table_hash
        self.board = board
        self._rows: dict[Key, Row] = {}
        for row in with_neighbours(table.row):
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
    def has_cycles(self) -> bool:
        """Whether the table estimates cycles, and so latency."""
        return self.table.has_cycles

    @property
    def clock_mhz(self) -> float | None:
        """Clock of the target's board, None without one; cycles / clock_mhz are microseconds."""
        return self.table.clock_mhz if self.board is None else self.board.clock_mhz

    @property
    def energy(self) -> Energy:
        """Energy of one cycle with its source."""
        return self.table.energy if self.board is None else self.board.energy

    @property
    def nj_per_cycle(self) -> float | None:
        """Energy of one cycle, None when unknown."""
        return self.energy.nj_per_cycle

    def latency_ms(self, cycles: float | None, stall_cycles: float = 0.0) -> float | None:
        """Time of core cycles and waits on the board, None where cycles or clock are unknown."""
        if cycles is None or self.clock_mhz is None:
            return None
        return (cycles + stall_cycles) / self.clock_mhz / 1000

    def energy_uj(self, cycles: float | None, stall_cycles: float = 0.0) -> float | None:
        """Energy of core cycles and waits, None where cycles or the figure are unknown."""
        if cycles is None or self.nj_per_cycle is None:
            return None
        return (cycles + stall_cycles) * self.nj_per_cycle / 1000

    @property
    def kernels(self) -> tuple[str, ...]:
        """Kernel families that were measured, most specific first."""
        return self.table.kernels

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

    def node_cost(self, work: Work) -> Cost:
        """Predicted cost of a node: the sum over its features of count times the row's price.

        A kind may have several forms (a convolution with and without a border) that report
        different features, so a node may leave features of the row out. A feature that no layer of
        these widths had is priced as at the nearest widths (`with_neighbours`); a form that was
        not measured gets the code size of the largest one.

        Raises:
            HwModelError: the widths were not measured, or a feature has no price (it would count
                as free).
        """
        row = self.row(work.kind, work.weight_bits, work.act_bits, work.act_signed)
        unpriced = sorted(set(work.features) - set(row.features))
        if unpriced:
            raise HwModelError(
                f"table {self.name}: {work.kind}: no price for {', '.join(unpriced)}; the row has "
                f"{', '.join(sorted(row.features))}; measure the target again with this version"
            )
        counts = work.features.items()
        instructions = sum(count * row.features[name][0] for name, count in counts)
        cycles = None
        if self.has_cycles:
            cycles = sum(count * row.features[name][1] for name, count in counts)
        code = row.code_bytes.get(work.form, max(row.code_bytes.values()))
        stored = sum(count * row.stored.get(name, 0.0) for name, count in work.stored.items())
        constants = work.const_bytes + ceil(stored)
        shared = {**row.shared, **row.form_shared.get(work.form, {})}
        stalls = 0.0
        if self.board is not None and self.board.flash is not None:
            taken = instructions * row.taken_share
            own = code + sum(shared.values())
            stalls = self.board.flash.stall_cycles(constants, passes(work), own, taken)
        energy_uj = self.energy_uj(cycles, stalls)
        return Cost(instructions, cycles, energy_uj, code, constants, shared, stalls)

    def prices(self, kind: str) -> bool:
        """Whether the table has rows for a kind of node; a network with others has no total."""
        return any(row.kind == kind for row in self.table.row)

    def predicts(self, work: Work) -> bool:
        """Whether everything a node does was measured: its kind, its widths, its features."""
        row = self._rows.get((work.kind, work.weight_bits, work.act_bits, work.act_signed))
        return row is not None and set(work.features) <= set(row.features)

    def cost(self, graph: GraphLike) -> list[NodeCost]:
        """Predicted cost of the nodes of a graph, in its order, without those not measured.

        `predicts` tells them; a sum over the nodes is a total only where there are none.
        """
        return [
            NodeCost(name, self.node_cost(work))
            for name, work in graph.works(self.kernels)
            if self.predicts(work)
        ]

    def run_bytes(self, nodes: int) -> int:
        """Code around the functions of ``nodes`` nodes."""
        fixed, each = self.table.run_bytes
        return fixed + each * nodes

    def code_bytes(self, costs: Iterable[Cost]) -> int:
        """Predicted code of a network: its nodes, each shared function once, and what runs them."""
        costs = list(costs)
        shared: dict[str, int] = {}
        for cost in costs:
            for name, size in cost.shared.items():
                shared[name] = max(size, shared.get(name, 0))
        own = sum(cost.code_bytes for cost in costs)
        return own + sum(shared.values()) + self.run_bytes(len(costs))


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
    return tuple(name for name in available("tables") if "." not in name)


def load(name: str, board: str | None = None, compiler: str | None = None) -> HwModel:
    """The measured cost model of a target.

    Args:
        name: the target.
        board: a board with the target's core; its flash then counts.
        compiler: "gcc" or "zig"; left out, the one this machine builds with. A compiler without
            a table of its own gets the target's first one.

    Raises:
        HwModelError: an unknown target or board (the known ones are listed), or one for another
            core.
    """
    table, table_hash = load_record("tables", name, Table)
    wanted = compiler or compiler_here(load_core(table.core).architecture)
    variant = f"{name}.{wanted}"
    if wanted != table.provenance.compiler and variant in available("tables"):
        table, table_hash = load_record("tables", variant, Table)
    if board is None:
        return HwModel(table, table_hash)
    chosen = load_board(board)
    if chosen.core != table.core or table.name != table.core:
        raise HwModelError(
            f"board {board}: has a {chosen.core}, target {name} is for {table.core}; boards for "
            f"it: {', '.join(boards_of(name)) or 'none'}; choose one of them"
        )
    return HwModel(table, table_hash, chosen)


def load_table(path: Path) -> HwModel:
    """A cost model from a table file outside the package, as ``adaqat measure`` writes it."""
    text = read_file(path)
    return HwModel(parse(text, Table, str(path)), sha256(text))
