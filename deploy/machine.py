# SPDX-License-Identifier: Apache-2.0
"""Opens an emulated core with an image in its memory: one function per architecture."""

from dataclasses import dataclass
from typing import Any

from ..hw_models import Architecture, Core
from .elf import Image
from .errors import ToolError
from .extras import require
from .semihosting import HostFiles

_unicorn = require("unicorn", "emulate")
_arm = require("unicorn.arm_const", "emulate")
_riscv = require("unicorn.riscv_const", "emulate")

HOST_CALL = "adaqat_host_call"
_START = "Reset_Handler"


@dataclass(frozen=True)
class Registers:
    """Unicorn's numbers of the registers that the emulator needs.

    state: what an address must have added to start there (the Thumb bit, or nothing).
    """

    pc: int
    sp: int
    link: int
    state: int


REGISTERS: dict[Architecture, Registers] = {
    "arm": Registers(_arm.UC_ARM_REG_PC, _arm.UC_ARM_REG_SP, _arm.UC_ARM_REG_LR, 1),
    "riscv": Registers(_riscv.UC_RISCV_REG_PC, _riscv.UC_RISCV_REG_SP, _riscv.UC_RISCV_REG_RA, 0),
}


def open_machine(image: Image, core: Core, files: HostFiles) -> Any:
    """A Unicorn instance about to start ``image``, with ``files`` answering its host calls.

    Raises:
        ToolError: Unicorn does not model the core, or the image has no host call.
    """
    if core.unicorn is None:
        raise ToolError(
            f"{core.name}: Unicorn has no model of this core; the others of adaqat.hw_models are "
            f"supported; run the image in QEMU instead"
        )
    riscv = core.architecture == "riscv"
    uc = _riscv_core(core.unicorn) if riscv else _arm_core(core.unicorn)
    for region, access in (
        (core.memory.flash, _unicorn.UC_PROT_READ | _unicorn.UC_PROT_EXEC),
        (core.memory.ram, _unicorn.UC_PROT_READ | _unicorn.UC_PROT_WRITE),
    ):
        uc.mem_map(region.origin, region.size, access)
    for segment in image.segments:
        uc.mem_write(segment.address, segment.data)
    if riscv:
        _start_riscv(uc, image, files)
    else:
        _start_arm(uc, core, files)
    return uc


def _arm_core(model: str) -> Any:
    uc = _unicorn.Uc(_unicorn.UC_ARCH_ARM, _unicorn.UC_MODE_THUMB | _unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(getattr(_arm, f"UC_CPU_ARM_{model}"))
    return uc


def _riscv_core(model: str) -> Any:
    uc = _unicorn.Uc(_unicorn.UC_ARCH_RISCV, _unicorn.UC_MODE_RISCV32)
    uc.ctl_set_cpu_model(getattr(_riscv, f"UC_CPU_RISCV32_{model}"))
    return uc


def _start_arm(uc: Any, core: Core, files: HostFiles) -> None:
    """As the core does at reset: stack pointer and program counter from the vector table."""
    uc.hook_add(_unicorn.UC_HOOK_INTR, files.on_interrupt)
    vectors = bytes(uc.mem_read(core.memory.flash.origin, 8))
    uc.reg_write(_arm.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
    uc.reg_write(_arm.UC_ARM_REG_PC, int.from_bytes(vectors[4:], "little"))


def _start_riscv(uc: Any, image: Image, files: HostFiles) -> None:
    """At the first instruction; the host call is served where it begins.

    Its breakpoint instruction never reaches Unicorn's interrupt hook, so the call is taken over
    before it runs.
    """
    found = {f.name: f.address for f in image.functions if f.name in (_START, HOST_CALL)}
    missing = [name for name in (_START, HOST_CALL) if name not in found]
    if missing:
        raise ToolError(
            f"{image.path.name}: no function {', '.join(missing)}; the emulator starts and serves "
            f"the firmware there; link with the firmware's start-up code for RISC-V"
        )
    uc.hook_add(_unicorn.UC_HOOK_INTR, files.on_exception)
    call = found[HOST_CALL]
    uc.hook_add(_unicorn.UC_HOOK_CODE, files.on_host_call, begin=call, end=call)
    uc.reg_write(_riscv.UC_RISCV_REG_PC, found[_START])
