# SPDX-License-Identifier: Apache-2.0
"""Which executors ``--verify`` asks for, and which of them this machine has."""

from __future__ import annotations

import sys
from enum import StrEnum

from .errors import UsageError


class Verify(StrEnum):
    """Where the emitted network runs against the integer simulator."""

    auto = "auto"
    host = "host"
    emulator = "emulator"
    qemu = "qemu"
    rtl = "rtl"
    none = "none"


def executors(asked: list[Verify], core: str | None, family: str = "c") -> list[str]:
    """Executors for `verify`, without repetition, the emulated core last: it has the counts."""
    if Verify.rtl in asked and family != "verilog":
        raise UsageError(
            "--verify rtl: this target emits C; host, emulator, qemu and none are supported; choose"
            " one of them, or an FPGA target"
        )
    if Verify.none in asked:
        if len(asked) > 1:
            raise UsageError(
                "--verify none: given with other values; it stands alone; remove it or the others"
            )
        return []
    if family == "verilog":
        return _rtl_executors(asked)
    emulated = [one for one in (Verify.qemu, Verify.emulator) if one in asked]
    if emulated and core is None:
        raise UsageError(
            f"--verify {emulated[0].value}: this target is no particular core; targets with a core"
            " can be emulated ('adaqat targets' lists them); use --verify host"
        )
    found = [] if set(asked) <= set(emulated) else [Verify.host.value]
    if Verify.qemu in asked:
        found.append(Verify.qemu.value)
    if Verify.emulator in asked or (Verify.auto in asked and core and _can_emulate(core)):
        found.append(Verify.emulator.value)
    return found


def _rtl_executors(asked: list[Verify]) -> list[str]:
    """Verilog runs in Verilator only; 'auto' goes without where that is missing, and says so."""
    others = [one.value for one in asked if one not in (Verify.auto, Verify.rtl)]
    if others:
        raise UsageError(
            f"--verify {others[0]}: this target emits Verilog; rtl and none are supported; choose"
            " one of them"
        )
    from .rtl.tools import missing

    why = missing()
    if why and Verify.rtl not in asked:
        print(f"not verified: {why}", file=sys.stderr)
        return []
    return [Verify.rtl.value]


def _can_emulate(core: str) -> bool:
    """Whether the core can run here; says on stderr why not."""
    from importlib.util import find_spec

    from ..hw_models import load_core

    missing = [name for name in ("unicorn", "capstone", "elftools") if find_spec(name) is None]
    why = ""
    described = load_core(core)
    if missing:
        why = f"{', '.join(missing)} not installed (pip install adaqat-deploy[emulate])"
    elif described.unicorn is None:
        from .qemu import qemu_missing

        why = qemu_missing(described) or ""
    if why:
        print(f"verifying on the host only: {why}", file=sys.stderr)
    return not why
