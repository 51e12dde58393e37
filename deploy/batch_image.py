# SPDX-License-Identifier: Apache-2.0
"""Counts one node each of many networks with one image: one link, one emulator start.

Every network keeps a translation unit of its own, compiled with the flags of the product, so its
code is what a user gets; only the start-up code and the harness are shared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..hw_models import Core
from .block_counter import make_counter
from .decoders import decoder_of
from .elf import Image, read_image
from .emit import CModel, sources
from .emulate import DEFAULT_BLOCK_LIMIT, code_extent, go, region_table
from .errors import ToolError
from .firmware import write_harness
from .isa_check import check_image
from .machine import REGISTERS, open_machine
from .qemu_count import run_counted
from .semihosting import HostFiles
from .toolchain import Toolchain
from .types import IntArray


@dataclass(frozen=True)
class Traced:
    """What one call of a node executed, before any cycle table prices it.

    Attributes:
        instructions: executed, exact.
        code_bytes: the node's own function.
        functions: bytes of the model's other functions by name without prefix.
        blocks: code of the executed blocks by address; None where only instructions are counted.
        transitions: (block, next block, how often), None with ``blocks``.
    """

    instructions: int
    code_bytes: int
    functions: dict[str, int]
    blocks: dict[int, bytes] | None
    transitions: tuple[tuple[int, int, int], ...] | None

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads."""
        blocks = self.blocks
        return {
            "instructions": self.instructions,
            "code_bytes": self.code_bytes,
            "functions": self.functions,
            "blocks": blocks and {str(a): code.hex() for a, code in blocks.items()},
            "transitions": self.transitions,
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Traced:
        """The trace of an entry."""
        blocks, transitions = entry["blocks"], entry["transitions"]
        return Traced(
            entry["instructions"],
            entry["code_bytes"],
            entry["functions"],
            None if blocks is None else {int(a): bytes.fromhex(t) for a, t in blocks.items()},
            None if transitions is None else tuple((p, c, n) for p, c, n in transitions),
        )


@dataclass(frozen=True)
class RegionTrace:
    """What ran in one function; ``blocks`` and ``transitions`` as in `Traced`."""

    instructions: int
    blocks: dict[int, bytes] | None = None
    transitions: tuple[tuple[int, int, int], ...] | None = None


class Tracer(Protocol):
    """Something that runs a batch image and counts: one function per emulator."""

    def __call__(
        self, elf: Path, core: Core, input_bytes: bytes, symbols: Sequence[str]
    ) -> tuple[Image, list[RegionTrace]]:
        """The image, and a trace for the function ``symbols[i]`` each."""


def unicorn_tracer(
    elf: Path, core: Core, input_bytes: bytes, symbols: Sequence[str]
) -> tuple[Image, list[RegionTrace]]:
    """Run an image in Unicorn.

    Raises:
        ToolError: a fault, a symbol that is not there, or an exit status other than 0.
    """
    image = read_image(elf)
    image.require(core)
    check_image(image, core)
    numbers, _ = region_table(image, symbols[0], symbols[1:])
    registers = REGISTERS[core.architecture]
    counter = make_counter(numbers, code_extent(image), DEFAULT_BLOCK_LIMIT, registers.link)
    files = HostFiles(input_bytes)
    uc = open_machine(image, core, files)
    counter.attach(uc, False)
    go(uc, registers, image, files, None)
    counts = counter.counts()
    _require_success(elf, files.status)
    found: dict[int, list[tuple[int, int, int]]] = {}
    for (region, previous, current), count in counts.edges.items():
        found.setdefault(region, []).append((previous, current, count))
    decoder = decoder_of(core)
    traces = []
    for number in range(1, len(symbols) + 1):
        transitions = found.get(number, [])
        places = {at for previous, current, _ in transitions for at in (previous, current)}
        blocks = {
            at: image.read(at, counts.sizes[at]) for at in sorted(places) if at in counts.sizes
        }
        lengths = {at: len(decoder.decode(code, at)) for at, code in blocks.items()}
        instructions = sum(count * lengths[previous] for previous, _, count in transitions)
        traces.append(RegionTrace(instructions, blocks, tuple(sorted(transitions))))
    return image, traces


def qemu_tracer(
    elf: Path, core: Core, input_bytes: bytes, symbols: Sequence[str]
) -> tuple[Image, list[RegionTrace]]:
    """Run an image in QEMU with its counting plugin.

    Raises:
        ToolError: QEMU or its plugin is missing, a symbol is not there, or an exit status other
            than 0.
    """
    image = read_image(elf)
    image.require(core)
    numbers, _ = region_table(image, symbols[0], symbols[1:])
    status, counts = run_counted(elf, core, input_bytes, numbers)
    _require_success(elf, status)
    decoder = decoder_of(core)
    traces = []
    for number in range(1, len(symbols) + 1):
        edges = [(*p, to, n) for (region, p, to), n in counts.edges.items() if region == number]
        sizes, transitions = unique_blocks(edges)
        blocks = {at: image.read(at, size) for at, size in sorted(sizes.items())}
        lengths = {at: len(decoder.decode(code, at)) for at, code in blocks.items()}
        instructions = sum(count * lengths[previous] for previous, _, count in transitions)
        traces.append(RegionTrace(instructions, blocks, tuple(transitions)))
    return image, traces


def unique_blocks(
    edges: Sequence[tuple[int, int, int, int]],
) -> tuple[dict[int, int], list[tuple[int, int, int]]]:
    """Bytes by address, and transitions, where QEMU ran blocks of several lengths at one address.

    The longer one is the shorter one and what follows it, as if QEMU had always cut there.

    Args:
        edges: (address, bytes, next address, how often).
    """
    work = list(edges)
    while True:
        sizes: dict[int, int] = {}
        for at, size, _, _ in work:
            sizes[at] = min(size, sizes.get(at, size))
        if all(size == sizes[at] for at, size, _, _ in work):
            break
        cut = []
        for at, size, to, count in work:
            short = sizes[at]
            if size == short:
                cut.append((at, size, to, count))
            else:
                cut += [(at, short, at + short, count), (at + short, size - short, to, count)]
        work = cut
    total: dict[tuple[int, int], int] = {}
    for at, _, to, count in work:
        total[at, to] = total.get((at, to), 0) + count
    return sizes, sorted((at, to, count) for (at, to), count in total.items())


def _require_success(elf: Path, status: int | None) -> None:
    if status != 0:
        raise ToolError(
            f"{elf.name}: the firmware ended with status {status}; status 0 is expected; report it"
        )


def trace_batch(
    models: Sequence[CModel],
    codes: Sequence[IntArray],
    node: str,
    core: Core,
    toolchain: Toolchain,
    tracer: Tracer | None = None,
) -> list[Traced]:
    """What the node called ``node`` executes in each of ``models``.

    Args:
        models: laid-out networks with different names.
        codes: one input ``[1, *shape]`` for each.
        node: the counted node, in every network.
        core: the emulated core.
        toolchain: compiler.
        tracer: the emulator; left out, Unicorn, or QEMU for cores that it does not model.
    """
    with tempfile.TemporaryDirectory(prefix="adaqat-batch-") as name:
        elf = _build(models, codes, core, toolchain, Path(name))
        data = b"".join(c.tobytes() for c in codes)
        symbols = []
        for model in models:
            symbols += [f"{model.name}_run", _ident(model, node)]
        run = tracer or (qemu_tracer if core.unicorn is None else unicorn_tracer)
        image, traces = run(elf, core, data, symbols)
        return [
            _traced(model, node, image, trace)
            for model, trace in zip(models, traces[1::2], strict=True)
        ]


def _ident(model: CModel, node: str) -> str:
    return next(emitted.ident for emitted in model.nodes if emitted.node.name == node)


def _build(
    models: Sequence[CModel],
    codes: Sequence[IntArray],
    core: Core,
    toolchain: Toolchain,
    folder: Path,
) -> Path:
    texts: list[Path] = []
    for model, given in zip(models, codes, strict=True):
        info = model.graph.output_node.output
        # The vector belongs to the self test, which is not linked.
        vector = (given[0], np.zeros(info.shape, np.int64))
        for name, text in sources(model, vector).items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        texts.append(folder / f"{model.name}.c")
    sizes = [(m.graph.input_node.output.bytes_, m.graph.output_node.output.bytes_) for m in models]
    values = {
        "models": [
            {"name": model.name, "input_bytes": size}
            for model, (size, _) in zip(models, sizes, strict=True)
        ],
        "context_words": max(model.ram_words for model in models),
        "input_words": max(-(-size // 4) for size, _ in sizes),
        "output_words": max(-(-size // 4) for _, size in sizes),
    }
    support, script = write_harness("batch.c.j2", values, core, folder)
    return toolchain.build([*support, *texts], [folder], core, script, folder / "batch.elf")


def _traced(model: CModel, node: str, image: Image, trace: RegionTrace) -> Traced:
    ident, prefix = _ident(model, node), f"{model.name}_"
    idents = {emitted.ident for emitted in model.nodes}
    functions: dict[str, int] = {}
    for function in image.functions:
        name = function.name.split(".")[0]
        if name.startswith(prefix) and name not in idents:
            short = name.removeprefix(prefix)
            functions[short] = functions.get(short, 0) + function.size
    code_bytes = sum(found.size for found in image.matching(ident))
    return Traced(trace.instructions, code_bytes, functions, trace.blocks, trace.transitions)
