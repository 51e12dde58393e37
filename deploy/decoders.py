# SPDX-License-Identifier: Apache-2.0
"""Decoders of firmware images by instruction set: Thumb, and RISC-V's RV32IMC.

RISC-V cores have no cycle table, so their decoder fills in what counts need: address, length and
group. Instruction sets: The RISC-V Instruction Set Manual, volume I, chapters RV32I, M and C.
"""

from typing import Any, Protocol

from ..hw_models import Core
from .cycles import Decoder, Instruction
from .errors import ToolError
from .extras import require
from .vector_decoder import VectorDecoder

_capstone = require("capstone", "emulate")

# Groups of the base instructions and of the multiplier; a compressed form is in the same group.
_GROUPS: dict[str, tuple[str, ...]] = {
    "load": ("lb", "lh", "lw", "lbu", "lhu"),
    "store": ("sb", "sh", "sw"),
    "mul": ("mul", "mulh", "mulhsu", "mulhu"),
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
    "branch": ("c.j", "c.beqz", "c.bnez"),
    "call": ("c.jal",),
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

    def decode(self, code: bytes, address: int) -> list[Instruction]:
        """Instructions of ``code``; bytes that are none raise `ToolError`."""
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


def decoder_of(core: Core) -> InstructionDecoder:
    """The decoder for the code of a core."""
    if core.isa == "armv8.1-m.main":
        return VectorDecoder()
    return RiscvDecoder() if core.architecture == "riscv" else Decoder()
