# SPDX-License-Identifier: Apache-2.0
"""Answers the firmware's semihosting calls from memory, so that no file is touched.

Call numbers and argument blocks: Arm, "Semihosting for AArch32 and AArch64", release 2.0.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

from .errors import ToolError
from .extras import require

_arm = require("unicorn.arm_const", "emulate")
_riscv = require("unicorn.riscv_const", "emulate")

BREAKPOINT_EXCEPTION = 7
BKPT_SEMIHOSTING = b"\xab\xbe"

_OPEN, _CLOSE, _WRITE, _READ, _EXIT, _EXIT_EXTENDED = 0x01, 0x02, 0x05, 0x06, 0x18, 0x20
_APPLICATION_EXIT = 0x20026
_FAILED = 0xFFFFFFFF


@dataclass
class HostFiles:
    """The two files the firmware knows: ``in.bin`` to read, ``out.bin`` to write.

    status is the firmware's exit status, None while it runs. error is set, and emulation stopped,
    by anything the firmware should not do.
    """

    data: bytes
    output: bytearray = field(default_factory=bytearray)
    status: int | None = None
    error: ToolError | None = None
    _position: int = 0

    def on_interrupt(self, uc: Any, number: int, user: object) -> None:
        """Unicorn interrupt hook: serve a semihosting call, stop on anything else."""
        pc = int(uc.reg_read(_arm.UC_ARM_REG_PC))
        if number != BREAKPOINT_EXCEPTION or bytes(uc.mem_read(pc, 2)) != BKPT_SEMIHOSTING:
            return self._stop(uc, f"exception {number} at 0x{pc:08x}")
        operation = int(uc.reg_read(_arm.UC_ARM_REG_R0))
        block = int(uc.reg_read(_arm.UC_ARM_REG_R1))
        result = self._serve(uc, operation, block)
        if result is None:
            return None if self.status is not None else self._stop(uc, f"call 0x{operation:02x}")
        uc.reg_write(_arm.UC_ARM_REG_R0, result)
        uc.reg_write(_arm.UC_ARM_REG_PC, (pc + 2) | 1)
        return None

    def on_host_call(self, uc: Any, address: int, size: int, user: object) -> None:
        """Unicorn code hook at the RISC-V firmware's host call: serve it and return from it."""
        operation = int(uc.reg_read(_riscv.UC_RISCV_REG_A0))
        result = self._serve(uc, operation, int(uc.reg_read(_riscv.UC_RISCV_REG_A1)))
        if result is None:
            return None if self.status is not None else self._stop(uc, f"call 0x{operation:02x}")
        uc.reg_write(_riscv.UC_RISCV_REG_A0, result)
        uc.reg_write(_riscv.UC_RISCV_REG_PC, int(uc.reg_read(_riscv.UC_RISCV_REG_RA)))
        return None

    def on_exception(self, uc: Any, number: int, user: object) -> None:
        """Unicorn interrupt hook of RISC-V: no exception is expected."""
        self._stop(uc, f"exception {number} at 0x{int(uc.reg_read(_riscv.UC_RISCV_REG_PC)):08x}")

    def _stop(self, uc: Any, what: str) -> None:
        self.error = ToolError(
            f"emulation: the firmware raised {what}; only file and exit calls of semihosting are "
            f"expected; look at the emitted code with a debugger or run it in QEMU"
        )
        uc.emu_stop()

    def _serve(self, uc: Any, operation: int, block: int) -> int | None:
        if operation == _OPEN:
            address, mode, length = _words(uc, block, 3)
            name = bytes(uc.mem_read(address, length))
            return {(b"in.bin", 1): 1, (b"out.bin", 5): 2}.get((name, mode), _FAILED)
        if operation == _READ:
            _, address, length = _words(uc, block, 3)
            chunk = self.data[self._position : self._position + length]
            self._position += len(chunk)
            uc.mem_write(address, chunk)
            return length - len(chunk)
        if operation == _WRITE:
            _, address, length = _words(uc, block, 3)
            self.output += uc.mem_read(address, length)
            return 0
        if operation == _CLOSE:
            return 0
        if operation == _EXIT_EXTENDED:
            reason, status = _words(uc, block, 2)
            self.status = status if reason == _APPLICATION_EXIT else 255
            uc.emu_stop()
        elif operation == _EXIT:
            self.status = 0 if block == _APPLICATION_EXIT else 255
            uc.emu_stop()
        return None


def _words(uc: Any, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}I", bytes(uc.mem_read(address, 4 * count)))
