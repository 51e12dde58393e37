# SPDX-License-Identifier: Apache-2.0
"""Runs the same firmware image in QEMU, as an independent referee and for cores without Unicorn."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..hw_models import Core
from .errors import ToolError

PROGRAM = "qemu-system-arm"


@dataclass(frozen=True)
class QemuRun:
    """Exit status, content of out.bin, and what a plugin wrote to counts.txt."""

    status: int
    output: bytes
    counts: str = ""


def qemu_missing(core: Core) -> str | None:
    """Why this core cannot run in QEMU here, None when it can."""
    if core.qemu_machine is None:
        return f"{core.name}: no QEMU board is known for it"
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed (apt-get install qemu-system-arm)"
    return None


def qemu_version() -> str:
    """The first line QEMU prints about itself.

    Raises:
        ToolError: it is not installed.
    """
    path = shutil.which(PROGRAM)
    if path is None:
        raise ToolError(f"{PROGRAM}: not installed; it is needed to count; install it")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.stdout else PROGRAM


def run_qemu(
    elf: Path,
    core: Core,
    input_bytes: bytes,
    seconds: float = 120,
    *,
    plugin: Path | None = None,
    regions: Mapping[int, int] | None = None,
) -> QemuRun:
    """Run ``elf`` with in.bin = ``input_bytes`` in a directory that is removed afterwards.

    plugin: a TCG plugin that counts; it finds the entry addresses of ``regions`` in regions.txt.
    Raises `ToolError` when QEMU is missing, fails to start, locks up or exceeds ``seconds``.
    """
    reason = qemu_missing(core)
    if reason is not None:
        raise ToolError(f"QEMU: {reason}; use the emulator executor instead")
    with tempfile.TemporaryDirectory(prefix="adaqat-qemu-") as folder:
        (Path(folder) / "in.bin").write_bytes(input_bytes)
        marks = "".join(f"{address:x} {number}\n" for address, number in (regions or {}).items())
        (Path(folder) / "regions.txt").write_text(marks)
        command = [
            PROGRAM, "-M", str(core.qemu_machine), "-kernel", str(elf.resolve()),
            "-display", "none", "-monitor", "none", "-serial", "none", "-nodefaults",
            "-semihosting-config", "enable=on,target=native",
            *(["-plugin", str(plugin)] if plugin else []),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"QEMU: {elf.name} did not end within {seconds:g} s; the firmware must exit by "
                f"semihosting; allow more time or look for an endless loop"
            ) from error
        out = Path(folder) / "out.bin"
        if done.returncode < 0 or not out.exists():
            raise ToolError(
                f"QEMU: {elf.name} ended with status {done.returncode} and no output: "
                f"{done.stderr.strip()[:300] or 'no message'}; check the image with check_isa"
            )
        counts = Path(folder) / "counts.txt"
        text = counts.read_text() if counts.exists() else ""
        return QemuRun(done.returncode, out.read_bytes(), text)
