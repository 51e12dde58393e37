# SPDX-License-Identifier: Apache-2.0
"""Runs a firmware image in Unicorn, counts instructions exactly and estimates cycles.

The image is the one that runs in QEMU and on a board with a debugger: it starts at its reset
vector and asks for its input and gives its output through semihosting (``templates/c/firmware``).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..hw_models import Core, Timing, load_timing
from .block_counter import Counts, make_counter
from .block_prices import BlockPrices, Transition
from .decoders import InstructionDecoder, decoder_of
from .elf import Image, read_image
from .errors import ToolError
from .extras import require
from .machine import REGISTERS, Registers, open_machine
from .semihosting import HostFiles

_unicorn = require("unicorn", "emulate")

STACK_CANARY = 0xC0DEC0DE
RUN_REGION = "run"
DEFAULT_BLOCK_LIMIT = 2_000_000_000
_STACK_SYMBOLS = ("adaqat_bss_end", "adaqat_stack_limit")


@dataclass(frozen=True)
class RegionCount:
    """Counts of one region over all samples.

    instructions is exact. cycles is the table's estimate, None for a core without a table.
    classes: instructions by group of the cycle model. calls: how often the region was entered.
    """

    name: str
    calls: int
    instructions: int
    cycles: float | None
    taken_branches: int
    classes: dict[str, int]


@dataclass(frozen=True)
class Emulation:
    """What one run of an image produced.

    regions: the region "run" (the model's own function outside its nodes) and every region asked
    for, in order; a region that never ran has zero calls. total: their sum.
    samples: calls of the model's run function; divide by it for one inference.
    stack_bytes: deepest stack of the first inference below the caller's stack pointer, None when
    the run function was never called.
    """

    status: int
    output: bytes
    regions: dict[str, RegionCount]
    total: RegionCount
    samples: int
    stack_bytes: int | None
    timing: str | None


def emulate(
    elf: Path,
    core: Core,
    input_bytes: bytes,
    run_symbol: str,
    regions: Sequence[str] = (),
    *,
    check_alignment: bool = False,
    python_hook: bool = False,
    block_limit: int = DEFAULT_BLOCK_LIMIT,
) -> Emulation:
    """Run ``elf`` on an emulated ``core`` and count what its model does.

    Args:
        elf: image built from the firmware templates.
        core: a core that Unicorn models.
        input_bytes: content of in.bin, whole samples.
        run_symbol: the model's run function; everything it calls is counted, nothing else.
        regions: functions to count on their own, as they are called in the source.
        check_alignment: stop at an unaligned access (slow; ARMv6-M faults on those).
        python_hook: count without the compiled hook (slow, equal).
        block_limit: executed blocks after which the program is taken for endless.

    Raises:
        ToolError: the core has no model, a symbol is missing, or the firmware faulted, used an
            unexpected exception, left its memory or did not end.
    """
    image = read_image(elf)
    image.require(core)
    numbers, names = region_table(image, run_symbol, regions)
    code = code_extent(image)
    registers = REGISTERS[core.architecture]
    counter = make_counter(numbers, code, block_limit, registers.link, python_hook)
    files = HostFiles(input_bytes)
    uc = open_machine(image, core, files)
    counter.attach(uc, check_alignment)
    run_address = next(a for a, number in numbers.items() if number == 1)
    stack_bytes = _run_phases(uc, registers, image, run_address, files)
    counts = counter.counts()
    if files.status is None:
        raise ToolError(
            f"{elf.name}: the firmware stopped without an exit status; a semihosting exit is "
            f"expected; link it with the firmware templates"
        )
    timing = None if core.timing is None else load_timing(core.timing)
    counted = _price(image, decoder_of(core), counts, timing, names)
    return Emulation(
        status=files.status,
        output=bytes(files.output),
        regions=counted,
        total=_sum(counted),
        samples=counts.entries.get(1, 0),
        stack_bytes=stack_bytes,
        timing=core.timing,
    )


def region_table(
    image: Image, run_symbol: str, regions: Sequence[str]
) -> tuple[dict[int, int], list[str]]:
    """Entry address -> region number, and the names by number; number 0 is outside."""
    numbers: dict[int, int] = {}
    names = ["outside", RUN_REGION, *regions]
    missing = []
    for number, symbol in enumerate([run_symbol, *regions], start=1):
        found = image.matching(symbol)
        if not found:
            missing.append(symbol)
        for function in found:
            numbers[function.address] = number
    if missing:
        raise ToolError(
            f"{image.path.name}: no function {', '.join(missing)} in the image; every counted "
            f"function must stay a function of its own; keep the compiler from inlining it"
        )
    return numbers, names


def code_extent(image: Image) -> tuple[int, int]:
    """(first address, bytes) of an image's code."""
    if not image.code_ranges:
        raise ToolError(
            f"{image.path.name}: no code found; mapping symbols ($t, $x, $d) are needed; do not "
            f"strip the image"
        )
    start = image.code_ranges[0][0] & ~1
    return start, image.code_ranges[-1][1] - start


def _run_phases(
    uc: Any, registers: Registers, image: Image, run_address: int, files: HostFiles
) -> int | None:
    """Run to the model's first call, through it (watching the stack), and to the end."""
    missing = [name for name in _STACK_SYMBOLS if name not in image.symbols]
    if missing:
        raise ToolError(
            f"{image.path.name}: no symbol {', '.join(missing)}; the stack is measured between "
            f"them; link with the firmware's linker script"
        )
    if not go(uc, registers, image, files, run_address):
        return None
    stack_pointer = int(uc.reg_read(registers.sp))
    # Paint all free RAM, not only the stack, so that an overflow is seen wherever it lands.
    floor = image.symbols["adaqat_bss_end"]
    uc.mem_write(floor, STACK_CANARY.to_bytes(4, "little") * ((stack_pointer - floor) // 4))
    finished = go(uc, registers, image, files, int(uc.reg_read(registers.link)) & ~1)
    painted = np.frombuffer(uc.mem_read(floor, stack_pointer - floor), "<u4")
    dirty = np.flatnonzero(painted != STACK_CANARY)
    stack_bytes = 4 * (painted.size - int(dirty[0])) if dirty.size else 0
    room = stack_pointer - image.symbols["adaqat_stack_limit"]
    if stack_bytes > room:
        raise ToolError(
            f"{image.path.name}: the stack needed {stack_bytes} bytes; it has {room}; raise "
            f"stack_bytes of the firmware"
        )
    if finished:
        go(uc, registers, image, files, None)
    return stack_bytes


def go(
    uc: Any, registers: Registers, image: Image, files: HostFiles, until: int | None
) -> bool:
    """Continue until an address, or the exit; True when the address was reached."""
    nowhere = 0xFFFFFFFE
    start = int(uc.reg_read(registers.pc)) | registers.state
    try:
        uc.emu_start(start, nowhere if until is None else until)
    except _unicorn.UcError as error:
        pc = int(uc.reg_read(registers.pc))
        raise ToolError(
            f"emulation: {error} at 0x{pc:08x} in {image.function_at(pc)}; only the core's "
            f"instructions, flash and RAM may be used; check the model's buffers and sizes"
        ) from error
    if files.error is not None:
        raise files.error
    return files.status is None and int(uc.reg_read(registers.pc)) == until


def _price(
    image: Image,
    decoder: InstructionDecoder,
    counts: Counts,
    timing: Timing | None,
    names: list[str],
) -> dict[str, RegionCount]:
    decoded = {
        address: decoder.decode(image.read(address, size), address)
        for address, size in counts.sizes.items()
    }
    prices = BlockPrices(decoded, timing)
    transitions: dict[int, list[Transition]] = {number: [] for number in range(1, len(names))}
    for (region, previous, current), count in counts.edges.items():
        transitions[region].append((previous, current, count))
    sums = {number: prices.total(found) for number, found in transitions.items()}
    return {
        name: RegionCount(
            name=name,
            calls=counts.entries.get(number, 0),
            instructions=sums[number].instructions,
            cycles=None if timing is None else sums[number].cycles,
            taken_branches=sums[number].taken,
            classes=dict(sorted(sums[number].classes.items())),
        )
        for number, name in enumerate(names)
        if number > 0
    }


def _sum(regions: dict[str, RegionCount]) -> RegionCount:
    classes: Counter[str] = Counter()
    for region in regions.values():
        classes.update(region.classes)
    cycles = [region.cycles for region in regions.values()]
    return RegionCount(
        name="total",
        calls=regions[RUN_REGION].calls,
        instructions=sum(region.instructions for region in regions.values()),
        cycles=None if None in cycles else sum(c for c in cycles if c is not None),
        taken_branches=sum(region.taken_branches for region in regions.values()),
        classes=dict(sorted(classes.items())),
    )
