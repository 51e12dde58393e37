# SPDX-License-Identifier: Apache-2.0
"""Counts an image in QEMU, for cores that Unicorn does not model (Cortex-M55 with MVE).

A small TCG plugin (``templates/c/tools/qemu_count.c``) counts block transitions by the rules of the
Unicorn counter, so that both give the same numbers for the same image. The plugin cannot read
registers or memory: the depth of the stack stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..hw_models import Core, Timing, load_timing
from .block_counter import MAX_DEPTH, hook_library, raise_for_status
from .cycles import Block, Instruction, edge_cost, price_block
from .decoders import decoder_of
from .elf import Image, read_image
from .emulate import RUN_REGION, Emulation, RegionCount, _region_table, _Sum, _sum
from .errors import ToolError
from .qemu import qemu_missing, run_qemu

Piece = tuple[int, int]
"""Address and bytes of an executed block."""


@dataclass
class PluginCounts:
    """What the plugin wrote: calls by region, and transitions by (region, block, next address)."""

    entries: dict[int, int] = field(default_factory=dict)
    edges: dict[tuple[int, Piece, int], int] = field(default_factory=dict)


def count_in_qemu(
    elf: Path, core: Core, input_bytes: bytes, run_symbol: str, regions: Sequence[str] = ()
) -> Emulation:
    """Run ``elf`` in QEMU and count what its model does, as `emulate` does in Unicorn.

    Raises:
        ToolError: QEMU or a compiler for the plugin is missing, a symbol is missing, or the
            firmware did not end.
    """
    reason = qemu_missing(core)
    if reason is not None:
        raise ToolError(f"QEMU: {reason}; counting for this core needs it; install it")
    plugin = hook_library("qemu_count")
    if plugin is None:
        raise ToolError(
            "QEMU: its counting plugin could not be built; a C compiler for this machine is needed;"
            " install gcc or 'pip install adaqat-deploy[emulate]'"
        )
    image = read_image(elf)
    image.require(core)
    numbers, names = _region_table(image, run_symbol, regions)
    run = run_qemu(elf, core, input_bytes, plugin=plugin, regions=numbers)
    counts = parse_counts(run.counts)
    timing = None if core.timing is None else load_timing(core.timing)
    counted = _price(image, core, counts, timing, names)
    return Emulation(
        run.status, run.output, counted, _sum(counted), counts.entries.get(1, 0), None, core.timing
    )


def parse_counts(text: str) -> PluginCounts:
    """The plugin's file.

    Raises:
        ToolError: empty or cut off, or the plugin gave up.
    """
    counts = PluginCounts()
    status = None
    for line in text.splitlines():
        word, *rest = line.split()
        numbers = [int(part) for part in rest]
        if word == "entry":
            counts.entries[numbers[0]] = numbers[1]
        elif word == "edge":
            region, address, size, current, count = numbers
            counts.edges[region, (address, size), current] = count
        else:
            status = numbers[0]
    if status is None:
        raise ToolError(
            "QEMU: its counting plugin wrote no counts; a QEMU with plugin support (version 1 of"
            " the interface) is needed; install qemu-system-arm 7 or newer"
        )
    if status:
        raise_for_status(status, MAX_DEPTH)
    return counts


def _price(
    image: Image, core: Core, counts: PluginCounts, timing: Timing | None, names: list[str]
) -> dict[str, RegionCount]:
    decoder = decoder_of(core)
    pieces = {piece for _, piece, _ in counts.edges}
    decoded: dict[Piece, list[Instruction]] = {
        piece: decoder.decode(image.read(piece[0], piece[1]), piece[0]) for piece in pieces
    }
    blocks: dict[Piece, Block] = {}
    misaligned: dict[int, bool] = {}
    if timing is not None:
        blocks = {piece: price_block(items, timing) for piece, items in decoded.items()}
        misaligned = {piece[0]: block.starts_misaligned for piece, block in blocks.items()}
    sums = {number: _Sum() for number in range(1, len(names))}
    for (region, piece, current), count in counts.edges.items():
        total = sums[region]
        total.instructions += count * len(decoded[piece])
        for item in decoded[piece]:
            total.classes[item.group] += count
        if timing is not None:
            end = sum(piece)
            wide = misaligned.get(current, False)
            cycles, taken = edge_cost(blocks[piece], current, end, wide, timing)
            total.cycles += count * (blocks[piece].cycles + cycles)
            total.taken += count * taken
    return {
        name: RegionCount(
            name=RUN_REGION if number == 1 else name,
            calls=counts.entries.get(number, 0),
            instructions=sums[number].instructions,
            cycles=None if timing is None else sums[number].cycles,
            taken_branches=sums[number].taken,
            classes=dict(sorted(sums[number].classes.items())),
        )
        for number, name in enumerate(names)
        if number > 0
    }
