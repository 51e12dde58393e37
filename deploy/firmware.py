# SPDX-License-Identifier: Apache-2.0
"""Puts an emitted model into a bare-metal image that the emulators can run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2

from ..hw_models import Core
from .isa_check import check_isa
from .toolchain import Toolchain

_FOLDER = "c/firmware"
DEFAULT_STACK_BYTES = 16 * 1024
_STARTUP = {"arm": "startup.c", "riscv": "startup_riscv.c"}


@dataclass(frozen=True)
class Interface:
    """What the harness must know of a model: its name and the two buffers of its run function.

    input_type and output_type are C element types, such as "int8_t".
    """

    name: str
    input_bytes: int
    output_bytes: int
    input_type: str
    output_type: str


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("adaqat.templates", package_path=""),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


def write_firmware(
    interface: Interface, core: Core, folder: Path, stack_bytes: int = DEFAULT_STACK_BYTES
) -> tuple[list[Path], Path]:
    """Write start-up code, harness and linker script; returns the C sources and the script."""
    return write_harness("harness.c.j2", vars(interface), core, folder, stack_bytes)


def write_harness(
    template: str,
    values: Mapping[str, object],
    core: Core,
    folder: Path,
    stack_bytes: int = DEFAULT_STACK_BYTES,
) -> tuple[list[Path], Path]:
    """Write start-up code, linker script and the harness that a firmware template prints."""
    environment = _environment()
    folder.mkdir(parents=True, exist_ok=True)
    harness = folder / "harness.c"
    text = environment.get_template(f"{_FOLDER}/{template}").render(values)
    harness.write_text(text, encoding="utf-8")
    script = folder / "link.ld"
    text = environment.get_template(f"{_FOLDER}/link.ld.j2").render(
        core=core, stack_bytes=stack_bytes
    )
    script.write_text(text, encoding="utf-8")
    startup = _STARTUP[core.architecture]
    for name in (startup, "memory_setup.h", "semihosting.h"):
        source = (files("adaqat.templates") / _FOLDER / name).read_text(encoding="utf-8")
        (folder / name).write_text(source, encoding="utf-8")
    return [folder / startup, harness], script


def build_firmware(
    interface: Interface,
    core: Core,
    model_sources: Sequence[Path],
    include_dirs: Sequence[Path],
    folder: Path,
    toolchain: Toolchain,
    *,
    tap: bool = False,
    optimise: str = "-O2",
    stack_bytes: int = DEFAULT_STACK_BYTES,
) -> Path:
    """Build ``folder/<name>.elf`` around a model and prove that the core can execute it.

    tap: the model reports every node's tensor (macro ADAQAT_TAP). Raises `ToolError` when a
    source does not compile or the image holds an instruction the core does not have.
    """
    sources, script = write_firmware(interface, core, folder, stack_bytes)
    elf = toolchain.build(
        [*sources, *model_sources],
        [folder, *include_dirs],
        core,
        script,
        folder / f"{interface.name}.elf",
        optimise,
        ["ADAQAT_TAP"] if tap else [],
    )
    check_isa(elf, core)
    return elf
