# SPDX-License-Identifier: Apache-2.0
"""An adder graph as the wires and registers that its template prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .adder_graph import AdderGraph, Pipeline
from .words import resized


@dataclass(frozen=True)
class Net:
    """One wire or register: its name, its bits, and the expression it takes."""

    name: str
    width: int
    text: str


def adder_values(graph: AdderGraph, timed: Pipeline, sum_bits: int) -> dict[str, Any]:
    """Literals of ``verilog/window/adders.j2``.

    Inputs stand side by side in ``x``, the first one lowest; outputs likewise in ``sums``, each
    ``sum_bits`` wide as a two's complement number, without the sign of its term.
    """
    return _Printer(graph, timed, sum_bits).values()


class _Printer:
    def __init__(self, graph: AdderGraph, timed: Pipeline, sum_bits: int) -> None:
        self.graph, self.timed, self.sum_bits = graph, timed, sum_bits
        # by wire or register: how many of its bits something reads
        self.used: dict[str, int] = {}

    def values(self) -> dict[str, Any]:
        graph, timed = self.graph, self.timed
        bits = graph.width(0)
        wires: list[Net] = []
        registers: list[Net] = []
        live = graph.live()
        for node in live:
            width = graph.width(node)
            if node < graph.inputs:
                wires.append(Net(f"n{node}", width, f"x[{(node + 1) * bits - 1}:{node * bits}]"))
            else:
                wires.append(Net(f"n{node}", width, self._sum(node)))
            slots = timed.registers(node)
            for slot in slots:
                before = f"n{node}" if slot == slots[0] else f"n{node}_{slot - 1}"
                registers.append(Net(f"n{node}_{slot}", width, before))
                self.used[before] = width
        wide = self.sum_bits
        sums = []
        for term in graph.outputs:
            if term is None:
                sums.append(f"{wide}'d0")
                continue
            sums.append(self._extended(term.node, timed.stages, wide - term.shift))
            if term.shift:
                sums[-1] = f"{{{sums[-1]}, {term.shift}'d0}}"
        idle = [
            f"{net.name}[{net.width - 1}:{self.used.get(net.name, 0)}]"
            for net in [*wires, *registers] if self.used.get(net.name, 0) < net.width
        ]  # fmt: skip
        unread = sorted(set(range(graph.inputs)) - set(live))
        return {
            "inputs": graph.inputs, "in_bits": bits, "wires": wires, "registers": registers,
            "sums": sums, "sum_bits": wide, "stages": timed.stages,
            "clocked": bool(registers),
            "idle": idle + [f"x[{(node + 1) * bits - 1}:{node * bits}]" for node in unread],
        }  # fmt: skip

    def _read(self, node: int, slot: int) -> str:
        """A node's name in a slot."""
        if slot == self.timed.slots[node] and (self.timed.born[node] > slot or slot == 0):
            return f"n{node}"
        return f"n{node}_{slot}"

    def _extended(self, node: int, slot: int, width: int, start: int = 0) -> str:
        """Bits of a node from ``start`` on, extended or cut to ``width``."""
        graph, name = self.graph, self._read(node, slot)
        have = graph.width(node) - start
        self.used[name] = max(self.used.get(name, 0), min(graph.width(node), start + width))
        if have <= 0:
            top = graph.width(node) - 1
            return f"{{{width}{{{name}[{top}]}}}}" if graph.signed(node) else f"{width}'d0"
        if graph.signed(node) or width <= have:
            return resized(name, have, width, start)
        return f"{{{width - have}'d0, {name}[{start + have - 1}:{start}]}}"

    def _sum(self, node: int) -> str:
        """Low bits of the left operand below the sum of what overlaps."""
        graph = self.graph
        adder = graph.adders[node]
        assert adder is not None
        slot = self.timed.slots[node]
        width, shift = graph.width(node), adder.shift
        if width <= shift:
            return self._extended(adder.left, slot, width)
        right = self._extended(adder.right, slot, width - shift)
        if graph.beside(adder):
            high = right
        else:
            left = self._extended(adder.left, slot, width - shift, shift)
            high = f"{left} {'-' if adder.minus else '+'} {right}"
        if not shift:
            return high
        return f"{{{high}, {self._extended(adder.left, slot, shift)}}}"
