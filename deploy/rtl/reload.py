# SPDX-License-Identifier: Apache-2.0
"""Where the memories of reloadable layers lie on the bus, and another network's words for them.

    python -m adaqat.deploy.rtl.reload CIRCUIT_FOLDER MODEL.adaqat > writes.txt

prints one write a line, address and word in hexadecimal, that turn the circuit in the folder into
the other network. Both networks have the same operators, shapes and types; what is not in a layer
with weights (sums, pools, tables, borders) must be equal.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..check import check
from ..errors import AdaqatError, UnsupportedError, UsageError
from ..graph import Graph
from ..render import comment
from ..targets import get
from .design import Design, Module, lay_out
from .plan import Fold, Rom, ScaleWidths, bits_for

WORD = 32
"""Bits of a word on the bus."""


@dataclass(frozen=True)
class Store:
    """One memory on the bus.

    Attributes:
        module: identifier of its module.
        rom: what it holds.
        base: address of its first word, in words of the bus; a multiple of the region's size.
        bits: bits of a word's number.
        pieces: words of the bus that make one word.
        piece_bits: bits of a piece's number.
    """

    module: Module
    rom: Rom
    base: int
    bits: int
    pieces: int
    piece_bits: int

    @property
    def facts(self) -> dict[str, Any]:
        """What templates print."""
        return {
            "width": self.rom.width, "depth": self.rom.depth, "base": self.base,
            "bits": self.bits, "pieces": self.pieces, "piece_bits": self.piece_bits,
        }  # fmt: skip


def stores(design: Design) -> list[Store]:
    """All memories that can be written, the largest regions first, so that nothing lies between."""
    found = []
    for module in design.modules:
        for rom in module.plan.roms if module.plan.values.get("reload") else ():
            pieces = -(-rom.width // WORD)
            piece_bits = bits_for(pieces - 1) if pieces > 1 else 0
            found.append(Store(module, rom, 0, bits_for(rom.depth - 1), pieces, piece_bits))
    found.sort(key=lambda store: -(store.bits + store.piece_bits))
    placed, base = [], 0
    for store in found:
        placed.append(replace(store, base=base))
        base += 1 << (store.bits + store.piece_bits)
    return placed


def bus_facts(design: Design) -> dict[str, Any] | None:
    """Address bits and mark of the layout; None where nothing can be written."""
    placed = stores(design)
    if not placed:
        return None
    last = placed[-1]
    end = last.base + (1 << (last.bits + last.piece_bits))
    text = json.dumps([(s.module.ident, s.rom.name, s.facts) for s in placed])
    return {
        "address_bits": bits_for(end - 1) + 2,
        "layout": hashlib.sha256(text.encode()).hexdigest()[:8],
    }


def address_map(design: Design) -> dict[str, Any]:
    """The content of ``<name>_reload.json``: addresses and sizes in bytes."""
    bus = bus_facts(design)
    assert bus is not None, "a circuit that can be written"
    return {
        "name": design.name, "target": design.target.name, **bus,
        "memories": [
            {
                "module": store.module.ident, "layer": comment(store.module.node.source),
                "holds": store.rom.name, "base": 4 * store.base, "words": store.rom.depth,
                "bits": store.rom.width, "pieces": store.pieces,
                "stride": 4 << store.piece_bits, "note": store.rom.note,
            }
            for store in stores(design)
        ],
        "folds": {m.node.name: _plain(m.fold) for m in design.modules},
    }  # fmt: skip


def _plain(fold: Fold) -> dict[str, Any]:
    return {key: value for key, value in asdict(fold).items() if key != "widths"}


def writes(design: Design) -> Iterator[tuple[int, int]]:
    """(byte address, word) of every write that fills all memories of a design."""
    mask = (1 << WORD) - 1
    for store in stores(design):
        for place, word in enumerate(store.rom.make()):
            start = store.base + (place << store.piece_bits)
            for piece in range(store.pieces):
                yield 4 * (start + piece), word >> (WORD * piece) & mask


PLACES = ("dsp", "rom_style")
"""Values that `memory_style` and `dsp` choose for a device."""


def reloaded(design: Design, graph: Graph) -> Design:
    """Another network laid out for the circuit of ``design``.

    Raises:
        UnsupportedError: it cannot be written into that circuit; every difference, by node.
    """
    if not stores(design):
        raise UnsupportedError(
            [f"{design.name}: no memory can be written; circuits emitted with"
             " --reloadable-weights are supported; emit it anew"]
        )  # fmt: skip
    pairs = list(zip(design.graph.nodes, graph.nodes, strict=False))
    differing = [
        f"{b.source}: {b.op.kind} of {b.output.type} {list(b.output.shape)} where the circuit has"
        f" {a.op.kind} of {a.output.type} {list(a.output.shape)}; the same operators, shapes and"
        " types in the same order are supported; emit a circuit of this network"
        for a, b in pairs
        if (a.op.kind, a.output.shape, a.output.type) != (b.op.kind, b.output.shape, b.output.type)
    ]
    if len(design.graph.nodes) != len(graph.nodes):
        differing.append(
            f"{graph.name}: {len(graph.nodes)} nodes, the circuit has {len(design.graph.nodes)};"
            " emit a circuit of this network"
        )
    if differing:
        raise UnsupportedError(differing)
    names = {a.name: b.name for a, b in pairs}
    folds = {
        names[m.node.name]: replace(m.fold, widths=_widths(m.plan.values))
        for m in design.modules
    }
    other = lay_out(graph, design.target, design.name, folds)
    # names of nodes are people's; identifiers and everything else must be equal
    for mine, theirs in zip(design.modules, other.modules, strict=True):
        a, b = mine.plan, theirs.plan
        same = (a.inputs, a.output, a.timing) == (b.inputs, b.output, b.timing)
        same &= a.values == {**b.values, **_placed(a.values)}
        if same and not a.values.get("reload"):
            same = all(x.make() == y.make() for x, y in zip(a.roms, b.roms, strict=True))
        if not same:
            differing.append(
                f"{theirs.node.source}: {theirs.node.op.kind} with other constants than the"
                " circuit's; weights and their requantisation can be written, nothing else; emit a"
                " circuit of this network"
            )
    if differing:
        raise UnsupportedError(differing)
    return replace(other, modules=tuple(map(_in_place_of, design.modules, other.modules)))


def _in_place_of(mine: Module, theirs: Module) -> Module:
    """``theirs`` with the name and the places that the circuit's module has."""
    values = {**theirs.plan.values, **_placed(mine.plan.values)}
    return replace(theirs, ident=mine.ident, plan=replace(theirs.plan, values=values))


def _placed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where a module's parts go on the device, which is no constant of its network."""
    return {key: value for key, value in values.items() if key in PLACES}


def _widths(values: Mapping[str, Any]) -> ScaleWidths | None:
    rescale = values.get("rescale")
    found: ScaleWidths | None = rescale.get("widths") if rescale else None
    return found


def folder_design(folder: Path) -> Design:
    """The circuit of an emitted folder, laid out again as it was.

    Raises:
        UsageError: not the folder of a circuit that can be written.
    """
    from ..model_file import load

    found = sorted(folder.glob("*_reload.json"))
    if len(found) != 1:
        raise UsageError(
            f"{folder}: {len(found)} files *_reload.json; the folder of a circuit emitted with"
            " --reloadable-weights is needed; give its path"
        )
    stated = json.loads(found[0].read_text(encoding="utf-8"))
    folds = {name: Fold(**fold) for name, fold in stated["folds"].items()}
    graph = check(load(folder / "model.adaqat"))
    return lay_out(graph, get(stated["target"]), stated["name"], folds)


def main(arguments: list[str]) -> int:
    """The command of this module's docstring; returns an exit code."""
    from ..model_source import open_model

    try:
        if len(arguments) != 2:
            raise UsageError(
                f"reload: {len(arguments)} arguments; the folder of a circuit and a model are"
                " needed; python -m adaqat.deploy.rtl.reload FOLDER MODEL.adaqat"
            )
        design = folder_design(Path(arguments[0]))
        other = reloaded(design, check(open_model(Path(arguments[1]))))
        for address, word in writes(other):
            print(f"{address:08x} {word:08x}")
    except AdaqatError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
