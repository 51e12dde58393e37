# SPDX-License-Identifier: Apache-2.0
"""Finds a cross compiler and builds firmware images with it.

For Arm, GCC (``arm-none-eabi-gcc``) is preferred, because published figures are mostly made with
it; the ``ziglang`` package from PyPI is the alternative that needs no system package. For RISC-V
ziglang comes first: the tests run with it. The environment variable ``ADAQAT_CC`` forces one of
them: "gcc", "zig", or the path of a GCC.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ..hw_models import Architecture, Core
from ..hw_models.compilers import GCC, PREFERRED
from .errors import ToolError

_PACKAGES = {"arm": "gcc-arm-none-eabi", "riscv": "gcc-riscv64-unknown-elf"}
INSTALL = (
    "install one: 'apt-get install {package}' or "
    "'pip install adaqat-deploy[emulate]' (brings ziglang)"
)
# Loops at word addresses: otherwise a cycle per round depends on where the linker puts a function.
GCC_FLAGS = ("-falign-functions=4", "-falign-loops=4")
# What other compilers do at -O2 for RISC-V and zig does not.
ZIG_FLAGS: dict[Architecture, tuple[str, ...]] = {
    "arm": (),
    "riscv": ("-fomit-frame-pointer", "-mrelax"),
}
COMMON_FLAGS = (
    "-std=c99",
    "-ffreestanding",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
    "-g0",
)
_ERROR_LINES = 8
_COMPILE_SECONDS = 300


@dataclass(frozen=True)
class Toolchain:
    """One cross compiler. ``command`` starts it; ``version`` is its own first line."""

    kind: Literal["gcc", "zig"]
    command: tuple[str, ...]
    version: str

    def flags(self, core: Core, optimise: str = "-O2") -> tuple[str, ...]:
        """Compiler flags for a core, without paths: what reports and tables quote."""
        if self.kind == "gcc":
            return (*core.gcc_flags, optimise, *COMMON_FLAGS, *GCC_FLAGS)
        target = ("-target", core.zig_target, f"-mcpu={core.zig_cpu}")
        return (*target, optimise, *COMMON_FLAGS, *ZIG_FLAGS[core.architecture])

    def build(
        self,
        sources: Sequence[Path],
        include_dirs: Sequence[Path],
        core: Core,
        linker_script: Path,
        out: Path,
        optimise: str = "-O2",
        defines: Sequence[str] = (),
    ) -> Path:
        """Compile and link ``sources`` into the ELF file ``out`` and return it.

        The same sources and flags give the same bytes in any directory. Raises `ToolError` with
        the first lines of the compiler's message, or when the compiler does not offer a feature
        that the core's description promises.
        """
        flags = self.flags(core, optimise)
        self._require_features(core, flags)
        link = ["-Wl,--gc-sections", f"-Wl,-T,{linker_script}", "-Wl,-e,Reset_Handler"]
        if self.kind == "gcc":
            # The run-time library (64-bit shifts, division) must follow the objects; zig adds
            # its own unless -nostdlib is given.
            link = ["-nostdlib", "-nostartfiles", *link, "-Wl,--build-id=none"]
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *self.command,
            *flags,
            *(self._keep_symbols(optimise, {s.parent for s in sources} | set(include_dirs))),
            *(f"-D{define}" for define in defines),
            *(f"-I{folder}" for folder in include_dirs),
            *(str(source) for source in sources),
            *link,
            *(["-lgcc"] if self.kind == "gcc" else []),
            "-o",
            str(out),
        ]
        _run(command, f"building {out.name} for {core.name}")
        return out

    def _keep_symbols(self, optimise: str, folders: Iterable[Path]) -> list[str]:
        """Zig drops all symbols at -Os unless it writes debugging sections; without their paths."""
        if self.kind == "gcc" or optimise not in ("-Os", "-Oz"):
            return []
        maps = [f"-ffile-prefix-map={folder}=." for folder in sorted(folders)]
        return ["-g", "-fdebug-compilation-dir=.", *maps]

    def _require_features(self, core: Core, flags: tuple[str, ...]) -> None:
        missing = set(core.required_macros) - _macros(self.command, flags)
        if missing:
            raise ToolError(
                f"{self.version}: does not define {', '.join(sorted(missing))} for {core.name}; "
                f"kernels for this core need them; use another compiler (ADAQAT_CC)"
            )


def find_toolchain(prefer: str | None = None, *, architecture: Architecture = "arm") -> Toolchain:
    """The compiler to use: ``prefer``, else ``ADAQAT_CC``, else the one preferred for the cores.

    Raises `ToolError` with an install line when there is none, or not the one asked for.
    """
    gcc, install = GCC[architecture], INSTALL.format(package=_PACKAGES[architecture])
    wanted = prefer or os.environ.get("ADAQAT_CC") or None
    if wanted is None:
        makers = {"gcc": lambda: gcc_toolchain(gcc), "zig": zig_toolchain}
        first, second = PREFERRED[architecture]
        found = makers[first]() or makers[second]()
        if found is None:
            raise ToolError(f"cross compiler: none found; {gcc} or ziglang is needed; {install}")
        return found
    if wanted == "zig":
        found = zig_toolchain()
    elif wanted == "gcc":
        found = gcc_toolchain(gcc)
    else:
        found = gcc_toolchain(wanted)
    if found is None:
        raise ToolError(
            f"cross compiler: {wanted!r} was asked for and is not there; 'gcc', 'zig' or the path "
            f"of a GCC are accepted; {install}"
        )
    return found


def gcc_toolchain(program: str = GCC["arm"]) -> Toolchain | None:
    """A bare-metal GCC, None when it is not installed."""
    path = shutil.which(program)
    return None if path is None else Toolchain("gcc", (path,), _version(path, "--version"))


def zig_toolchain() -> Toolchain | None:
    """The ziglang package of this Python, None when it is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    command = (sys.executable, "-m", "ziglang")
    return Toolchain("zig", (*command, "cc"), "zig " + _version(*command, "version"))


@cache
def _version(*command: str) -> str:
    return _run(command, f"asking {command[0]} for its version").splitlines()[0].strip()


@cache
def _macros(command: tuple[str, ...], flags: tuple[str, ...]) -> frozenset[str]:
    text = _run([*command, *flags, "-dM", "-E", "-x", "c", os.devnull], "listing macros")
    return frozenset(line.split()[1].split("(")[0] for line in text.splitlines() if " " in line)


def host_compiler() -> tuple[str, ...]:
    """Command of a C compiler for this machine: $ADAQAT_HOST_CC, cc, gcc, clang, or Zig's.

    Raises:
        ToolError: none found, with what to install.
    """
    if os.environ.get("ADAQAT_HOST_CC"):
        return tuple(os.environ["ADAQAT_HOST_CC"].split())
    for program in ("cc", "gcc", "clang"):
        path = shutil.which(program)
        if path is not None:
            return (path,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    raise ToolError(
        "host compiler: none found; cc, gcc, clang or the ziglang package are supported; run"
        " 'pip install ziglang' or install gcc"
    )


def file_hash(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: Sequence[str], what: str) -> str:
    environment = {**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=_COMPILE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(
            f"{what}: {command[0]} could not be run ({error}); it must be executable; "
            f"'pip install adaqat-deploy[emulate]' brings another one, ziglang"
        ) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        first = [line for line in lines if "error" in line or "undefined" in line] or lines
        raise ToolError(
            f"{what}: {Path(command[0]).name} failed with status {done.returncode}:\n  "
            + "\n  ".join(first[:_ERROR_LINES])
        )
    return done.stdout
