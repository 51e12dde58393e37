# SPDX-License-Identifier: Apache-2.0
"""Files of a circuit that can be written: address map, and a bench that writes another network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..graph import Graph, Node
from ..ops.weighted import WeightedOp
from ..simulate import simulate
from ..types import IntArray
from .circuit import Circuit
from .emit import facts
from .reload import address_map, bus_facts, reloaded, writes
from .words import print_template


def turned(graph: Graph) -> Graph:
    """The network with the output channels of every layer moved by one, constants with them.

    Another network, of the same widths in every memory.
    """

    def moved(node: Node) -> Node:
        op = node.op
        if not isinstance(op, WeightedOp):
            return node
        weights = replace(op.weights, codes=np.roll(op.weights.codes, 1, axis=0))
        rule = op.requant
        if len(rule.m) > 1:
            rule = replace(
                rule, bias=np.roll(rule.bias, 1), m=np.roll(rule.m, 1), s=np.roll(rule.s, 1),
                z=np.roll(rule.z, 1),
            )  # fmt: skip
        return replace(node, op=replace(op, weights=weights, requant=rule))

    return graph.with_nodes(tuple(moved(node) for node in graph.nodes))


def reload_texts(
    circuit: Circuit, codes: IntArray, vectors: Callable[[IntArray], str], patience: int
) -> dict[str, str]:
    """Texts by name; those of ``Makefile`` and ``README.md`` are to be appended.

    Args:
        circuit: a circuit whose layers can be written.
        codes: frames of the bench.
        vectors: output codes as the text of a memory file.
        patience: cycles without a beat after which the bench gives up.
    """
    return bench_texts(circuit, turned(circuit.design.graph), codes, vectors, patience)


def bench_texts(
    circuit: Circuit, other: Graph, codes: IntArray, vectors: Callable[[IntArray], str],
    patience: int,
) -> dict[str, str]:
    """The files for a network that is written, as `reload_texts`."""
    design, name = circuit.design, circuit.design.name
    made = list(writes(reloaded(design, other)))
    stated = {
        "name": name, "design": facts(design), "reload": bus_facts(design), "writes": len(made),
        "frames": len(codes), "patience": patience, "memories": address_map(design)["memories"],
    }  # fmt: skip
    return {
        f"{name}_reload.json": json.dumps(address_map(design), indent=1) + "\n",
        f"{name}_reload.hex": "".join(f"{at:08x}{word:08x}\n" for at, word in made),
        f"{name}_reload_expected.hex": vectors(simulate(other, codes)),
        f"{name}_reload_tb.v": print_template("verilog/project/reload_bench.v.j2", **stated),
        "Makefile": print_template("verilog/project/reload_Makefile.j2", **stated),
        "README.md": print_template("verilog/project/reload.md.j2", **stated),
    }
