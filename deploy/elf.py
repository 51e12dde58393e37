# SPDX-License-Identifier: Apache-2.0
"""Reads what the emulator and the checks need from a firmware image."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..hw_models import Architecture, Core
from .errors import ToolError
from .extras import require

_ELFError = require("elftools.common.exceptions", "emulate").ELFError
_ELFFile = require("elftools.elf.elffile", "emulate").ELFFile
_SymbolTableSection = require("elftools.elf.sections", "emulate").SymbolTableSection

# Elf32_Sym of the ELF specification: name, value, size, info, other, section. Read in one go,
# because an image of many networks has thousands.
_SYMBOL = struct.Struct("<IIIBBH")
_FUNCTION = 2
_MACHINES: dict[str, Architecture] = {"EM_ARM": "arm", "EM_RISCV": "riscv"}
_TITLES = {"arm": "Arm", "riscv": "RISC-V"}


@dataclass(frozen=True)
class Segment:
    """Bytes to load at ``address``."""

    address: int
    data: bytes


@dataclass(frozen=True)
class Function:
    """A function symbol; ``address`` without the Thumb bit, ``size`` in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Image:
    """A linked firmware image.

    code_ranges holds (start, end) of instructions in the executable sections, from the mapping
    symbols $t, $x and $d of the Arm and RISC-V ELF ABIs, so that constants between functions are
    left out.
    section_bytes is the size of each allocated section by name.
    """

    path: Path
    architecture: Architecture
    segments: tuple[Segment, ...]
    functions: tuple[Function, ...]
    symbols: dict[str, int]
    code_ranges: tuple[tuple[int, int], ...]
    section_bytes: dict[str, int]

    def require(self, core: Core) -> None:
        """Raise `ToolError` when the image is for another architecture than the core's."""
        if self.architecture != core.architecture:
            raise ToolError(
                f"{self.path.name}: an image for {_TITLES[self.architecture]}; {core.title} runs "
                f"images for {_TITLES[core.architecture]}; build it for this core"
            )

    def function_at(self, address: int) -> str:
        """Name of the function that holds ``address``, or its hex when there is none."""
        for function in self.functions:
            if function.address <= address < function.address + max(function.size, 2):
                return function.name
        return f"0x{address:08x}"

    def matching(self, name: str) -> tuple[Function, ...]:
        """Functions called ``name``, also the copies a compiler makes (``name.isra.0`` ...)."""
        return tuple(f for f in self.functions if f.name == name or f.name.startswith(name + "."))

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the loaded image; raises `ToolError` outside of it."""
        for segment in self.segments:
            offset = address - segment.address
            if 0 <= offset and offset + size <= len(segment.data):
                return segment.data[offset : offset + size]
        raise ToolError(
            f"{self.path.name}: no bytes at 0x{address:08x}; an executed block lies outside the "
            f"image; build it again"
        )


def read_image(path: Path) -> Image:
    """Parse an ELF file; raises `ToolError` when it is missing or no 32-bit Arm or RISC-V image."""
    try:
        with path.open("rb") as stream:
            return _parse(path, _ELFFile(stream))
    except OSError as error:
        raise ToolError(
            f"{path}: cannot be read ({error.strerror}); a linked ELF image is needed; build it"
        ) from error
    except _ELFError as error:
        raise ToolError(
            f"{path}: not an ELF file ({error}); a linked ELF image is needed; build it"
        ) from error


def _parse(path: Path, elf: Any) -> Image:
    if elf["e_machine"] not in _MACHINES or elf.elfclass != 32:
        raise ToolError(
            f"{path}: machine {elf['e_machine']}; 32-bit Arm and RISC-V images are "
            f"supported; build it for a core of adaqat.hw_models"
        )
    segments = tuple(
        Segment(segment["p_paddr"], segment.data())
        for segment in elf.iter_segments()
        if segment["p_type"] == "PT_LOAD" and segment["p_filesz"] > 0
    )
    executable = {
        index: (section["sh_addr"], section["sh_addr"] + section["sh_size"])
        for index, section in enumerate(elf.iter_sections())
        if section["sh_flags"] & 0x4 and section["sh_size"] > 0
    }
    functions: set[Function] = set()
    symbols: dict[str, int] = {}
    marks: list[tuple[int, bool]] = []
    for section in elf.iter_sections():
        if not isinstance(section, _SymbolTableSection):
            continue
        names = elf.get_section(section["sh_link"]).data()
        for at, value, size, info, _, index in _SYMBOL.iter_unpack(section.data()):
            name = names[at : names.index(0, at)].decode("utf-8", "replace")
            if name.startswith(("$t", "$d", "$a", "$x")):
                if index in executable:
                    marks.append((value, not name.startswith("$d")))
            elif info & 15 == _FUNCTION:
                functions.add(Function(name, value & ~1, size))
            elif name:
                symbols[name] = value
    return Image(
        path=path,
        architecture=_MACHINES[elf["e_machine"]],
        segments=segments,
        functions=tuple(sorted(functions, key=lambda f: (f.address, f.name))),
        symbols=symbols,
        code_ranges=_code_ranges(marks, list(executable.values())),
        section_bytes={
            section.name: section["sh_size"]
            for section in elf.iter_sections()
            if section["sh_flags"] & 0x2
        },
    )


def _code_ranges(
    marks: list[tuple[int, bool]], sections: list[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for start, end in sections:
        inside = sorted(mark for mark in marks if start <= mark[0] < end)
        for index, (address, is_code) in enumerate(inside):
            stop = inside[index + 1][0] if index + 1 < len(inside) else end
            if is_code and stop > address:
                ranges.append((address, stop))
    return tuple(sorted(ranges))
