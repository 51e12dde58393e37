# SPDX-License-Identifier: Apache-2.0
"""Which tensors share one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .capture import Network
from .records import GRID_KINDS, UNIT_KINDS, Record

SHARED = ("concat", "extremum")
"""Kinds whose inputs and result share one grid."""


def share_grids(network: Network) -> tuple[Network, dict[str, str]]:
    """The grid (named after one producer) of every tensor; what `SHARED` joins has one.

    The network's input and a softmax never share: a concat of them gets a change of grid in front.
    """
    records: list[Record] = []
    parent: dict[str, str] = {}
    grid_of: dict[str, str] = {}
    by_name: dict[str, Record] = {}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for original in network.records:
        record = original
        if record.kind in GRID_KINDS:
            parent[record.name] = record.name
            grid_of[record.name] = record.name
        elif record.kind in SHARED:
            inputs = []
            for i, name in enumerate(record.inputs):
                source = by_name[name]
                root = find(grid_of[name])
                if root == find(records[0].name) or by_name[root].kind in UNIT_KINDS:
                    regrid = f"{record.name}_in{i}"
                    records.append(Record(regrid, "affine", record.source, (name,), source.shape))
                    parent[regrid] = grid_of[regrid] = regrid
                    name = regrid
                inputs.append(name)
            record = replace(record, inputs=tuple(inputs))
            roots = [find(grid_of[name]) for name in inputs]
            for root in roots[1:]:
                parent[find(root)] = find(roots[0])
            grid_of[record.name] = roots[0]
        else:
            grid_of[record.name] = grid_of[record.inputs[0]]
        records.append(record)
        by_name[record.name] = record
    return (
        replace(network, records=tuple(records)),
        {name: find(grid) for name, grid in grid_of.items()},
    )


def starts(network: Network, grids: Mapping[str, str]) -> set[str]:
    """Grids of the network's input, as it comes and behind sums and products with constants."""
    found = {grids[network.records[0].name]}
    for record in network.records[1:]:
        if (
            record.kind == "pointwise"
            and record.attrs["function"] == "affine"
            and (grids[record.inputs[0]] in found)
        ):
            found.add(grids[record.name])
    return found
