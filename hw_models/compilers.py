# SPDX-License-Identifier: Apache-2.0
"""Which compiler this machine builds with, because a table holds for one compiler.

Only names are looked up, nothing is started. The order is that of ``adaqat.deploy``, which asks
here: for Arm GCC, because published figures are mostly made with it, then the ``ziglang`` package;
for RISC-V ziglang first.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Literal

from .core import Architecture

Kind = Literal["gcc", "zig"]
PREFERRED: dict[Architecture, tuple[Kind, Kind]] = {"arm": ("gcc", "zig"), "riscv": ("zig", "gcc")}
GCC: dict[Architecture, str] = {"arm": "arm-none-eabi-gcc", "riscv": "riscv64-unknown-elf-gcc"}


def compiled_by(architecture: Architecture) -> Kind:
    """The compiler whose table has no suffix."""
    return PREFERRED[architecture][0]


def compiler_here(architecture: Architecture) -> Kind | None:
    """The compiler used on this machine, by ``ADAQAT_CC`` or preference; None without one."""
    wanted = os.environ.get("ADAQAT_CC")
    if wanted:
        return "zig" if wanted == "zig" else "gcc"
    there: dict[Kind, bool] = {
        "gcc": shutil.which(GCC[architecture]) is not None,
        "zig": importlib.util.find_spec("ziglang") is not None,
    }
    return next((kind for kind in PREFERRED[architecture] if there[kind]), None)
