# SPDX-License-Identifier: Apache-2.0
"""Processor cores: what the compilers and emulators need to know about each one."""

from typing import Literal

from pydantic import Field

from .files import Record, available, load_record

Isa = Literal["armv6-m", "armv7-m", "armv7e-m", "armv8-m.main", "armv8.1-m.main", "rv32imc"]
Architecture = Literal["arm", "riscv"]


class Region(Record):
    """One memory of the emulated machine; addresses and sizes in bytes."""

    origin: int = Field(ge=0)
    size: int = Field(gt=0)


class Memory(Record):
    """The two memories an image uses."""

    flash: Region
    ram: Region


class Core(Record):
    """One core.

    ``unicorn`` is the name of the CPU model in Unicorn (``UC_CPU_ARM_<unicorn>`` or
    ``UC_CPU_RISCV32_<unicorn>``), ``None`` when Unicorn has no such model; ``qemu_machine`` is the
    board model that runs the same image.
    ``timing`` names the cycle table, ``None`` when no table is worth using.
    ``required_macros`` must be defined by the compiler with these flags: a compiler that leaves
    one out would silently build the slow portable kernels.
    ``code_of`` names another core for which GCC compiles the same sources to the same bytes, so
    that its counts hold here; only the cycles differ.
    ``kernels`` names kernel families of ``adaqat.deploy``, most specific first.
    """

    name: str
    title: str
    isa: Isa
    gcc_flags: tuple[str, ...]
    zig_target: str
    zig_cpu: str
    unicorn: str | None = None
    qemu_machine: str | None = None
    timing: str | None = None
    code_of: str | None = None
    required_macros: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    memory: Memory

    @property
    def architecture(self) -> Architecture:
        """The family of instruction sets: which compiler, start-up code and emulator serve it."""
        return "riscv" if self.isa.startswith("rv") else "arm"

    @property
    def aligned_only(self) -> bool:
        """Whether an unaligned load or store may fault.

        Arm DDI 0419E, A3.2.1; on RISC-V the environment decides (Unprivileged ISA, 2.6).
        """
        return self.isa == "armv6-m" or self.architecture == "riscv"


def core_names() -> tuple[str, ...]:
    """Every known core, sorted."""
    return available("cores")


def load_core(name: str) -> Core:
    """The core called ``name``; raises `HwModelError` listing the known ones."""
    core: Core = load_record("cores", name, Core)[0]
    return core
