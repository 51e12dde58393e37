# SPDX-License-Identifier: Apache-2.0
"""Static proof that an image holds only instructions of its core.

The emulators do not give it: Unicorn runs DSP instructions on its Cortex-M3 and ARMv7-M code on
its Cortex-M0 without complaint, and its RISC-V cores know more than RV32IMC. Instruction sets: Arm
DDI 0419E (ARMv6-M), DDI 0403E (ARMv7-M, section A5 marks what the DSP extension adds); RISC-V in
``decoders.py``.
"""

from dataclasses import dataclass
from pathlib import Path

from ..hw_models import Core
from .cycles import Instruction
from .decoders import FOREIGN, decoder_of
from .elf import Image, read_image
from .errors import ToolError

_SHOWN = 5
# The only 32-bit encodings of ARMv6-M (DDI 0419E, A5.3).
_V6M_WIDE = ("bl", "mrs", "msr", "dmb", "dsb", "isb")
# 16-bit encodings that came after ARMv6-M.
_NOT_V6M = ("cbz", "cbnz", "it")


@dataclass(frozen=True)
class Foreign:
    """An instruction the core does not have, and the function it stands in."""

    address: int
    text: str
    function: str


def foreign_instructions(image: Image, core: Core) -> list[Foreign]:
    """Every instruction of the image that ``core`` cannot execute."""
    decoder = decoder_of(core)
    found = []
    for start, end in image.code_ranges:
        for item in decoder.decode(image.read(start, end - start), start):
            if not _allowed(item, core):
                found.append(Foreign(item.address, item.text, image.function_at(item.address)))
    return found


def check_isa(elf: Path, core: Core) -> None:
    """Raise `ToolError` when ``elf`` holds an instruction that ``core`` does not have.

    Cores with vector extensions (Cortex-M55) are not checked: the decoder does not know them.
    """
    if core.isa == "armv8.1-m.main":
        return
    image = read_image(elf)
    image.require(core)
    check_image(image, core)


def check_image(image: Image, core: Core) -> None:
    """`check_isa` of an image that has been read."""
    if core.isa == "armv8.1-m.main":
        return
    elf = image.path
    found = foreign_instructions(image, core)
    if found:
        listed = "; ".join(f"{f.text} at 0x{f.address:08x} in {f.function}" for f in found[:_SHOWN])
        raise ToolError(
            f"{elf.name}: {len(found)} instructions that {core.title} ({core.isa}) does not have: "
            f"{listed}; only {core.isa} code is supported; compile with the flags of this core"
        )


def _allowed(item: Instruction, core: Core) -> bool:
    name = item.text.split()[0].split(".")[0]
    if core.isa == "rv32imc":
        return item.group != FOREIGN
    if core.isa == "armv6-m":
        if item.size == 4:
            return name in _V6M_WIDE
        return not name.startswith(_NOT_V6M)
    if core.isa == "armv7-m":
        return item.group != "simd" and name not in ("umaal", "ssat16", "usat16")
    return True
