# SPDX-License-Identifier: Apache-2.0
"""Decoders of firmware images by instruction set: Thumb, and RISC-V's RV32IMC.

The cycle table of RISC-V looks at no neighbours, so its decoder fills in what that needs: address,
length and group. Instruction sets: The RISC-V Instruction Set Manual, volume I, chapters RV32I, M
and C.
"""

from functools import cache
from typing import Any, Protocol

from ..hw_models import Architecture, Core
from .cycles import Decoder, Instruction
from .decode_memo import remembered, riscv_unit
from .errors import ToolError
from .extras import require
from .vector_decoder import VectorDecoder

_capstone = require("capstone", "emulate")

# Groups of the base instructions and of the multiplier; a compressed form is in the same group.
_GROUPS: dict[str, tuple[str, ...]] = {
    "load": ("lb", "lh", "lw", "lbu", "lhu"),
    "store": ("sb", "sh", "sw"),
    "mul": ("mul",),
    "long_mul": ("mulh", "mulhsu", "mulhu"),
    "divide": ("div", "divu", "rem", "remu"),
    "branch": ("beq", "bne", "blt", "bge", "bltu", "bgeu"),
    "call": ("jal",),
    "branch_register": ("jalr",),
    "system": ("fence", "ecall", "ebreak"),
    "alu": (
        "lui", "auipc", "addi", "slti", "sltiu", "xori", "ori", "andi", "slli", "srli", "srai",
        "add", "sub", "sll", "slt", "sltu", "xor", "srl", "sra", "or", "and",
    ),
}  # fmt: skip
_COMPRESSED: dict[str, tuple[str, ...]] = {
    "load": ("c.lw", "c.lwsp"),
    "store": ("c.sw", "c.swsp"),
    "branch": ("c.beqz", "c.bnez"),
    "call": ("c.j", "c.jal"),
    "branch_register": ("c.jr", "c.jalr"),
    "system": ("c.ebreak", "c.unimp"),
    "alu": (
        "c.li", "c.lui", "c.addi", "c.addi16sp", "c.addi4spn", "c.slli", "c.srli", "c.srai",
        "c.andi", "c.mv", "c.add", "c.and", "c.or", "c.xor", "c.sub", "c.nop",
    ),
}  # fmt: skip
RV32IMC = {
    name: group
    for table in (_GROUPS, _COMPRESSED)
    for group, names in table.items()
    for name in names
}
FOREIGN = "foreign"
"""Group of an instruction outside of RV32IMC."""


class InstructionDecoder(Protocol):
    """Turns bytes into instructions."""

    def decode(self, code: bytes, address: int) -> list[Instruction]:
        """Instructions of ``code``; bytes that are none raise `ToolError`."""


class RiscvDecoder:
    """Decodes 32-bit RISC-V code with compressed instructions."""

    def __init__(self) -> None:
        """Open Capstone for RV32 with the C extension."""
        mode = _capstone.CS_MODE_RISCV32 | _capstone.CS_MODE_RISCVC
        self._engine = _capstone.Cs(_capstone.CS_ARCH_RISCV, mode)
        self._known: dict[bytes, list[Instruction]] = {}

    def decode(self, code: bytes, address: int) -> list[Instruction]:
        """Instructions of ``code``; bytes that are none raise `ToolError`."""
        return remembered(self._known, code, address, riscv_unit, self._fresh)

    def _fresh(self, code: bytes, address: int) -> list[Instruction]:
        found = [self._instruction(item) for item in self._engine.disasm(code, address)]
        done = sum(item.size for item in found)
        if done != len(code):
            raise ToolError(
                f"0x{address + done:08x}: bytes {code[done : done + 4].hex()} are no instruction "
                f"the decoder knows; RV32IMC code is supported; build for another core"
            )
        return found

    def _instruction(self, item: Any) -> Instruction:
        # The name behind the number: the printed one may be an alias such as "ret".
        group = RV32IMC.get(str(self._engine.insn_name(item.id)), FOREIGN)
        none: frozenset[int] = frozenset()
        return Instruction(
            address=item.address,
            size=item.size,
            group=group,
            text=f"{item.mnemonic} {item.op_str}".strip(),
            address_regs=none,
            loaded=none,
            reads=none,
            writes=none,
            transfers=0,
            conditional=group == "branch",
            register_offset=False,
        )


@cache
def _decoder(architecture: Architecture, vectors: bool) -> InstructionDecoder:
    if vectors:
        return VectorDecoder()
    return RiscvDecoder() if architecture == "riscv" else Decoder()


def decoder_of(core: Core) -> InstructionDecoder:
    """The decoder for the code of a core, one for the whole process."""
    return _decoder(core.architecture, core.isa == "armv8.1-m.main")
