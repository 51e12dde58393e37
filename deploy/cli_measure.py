# SPDX-License-Identifier: Apache-2.0
"""The command ``adaqat measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageError


def measure(
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="May be repeated; 'adaqat targets' lists them."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every C target.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="TOML file to write, or a folder; without it, this folder."
        ),
    ] = None,
    compiler: Annotated[
        str | None,
        typer.Option(help="gcc, zig or the path of a GCC; without it, the one preferred."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of earlier counts; without it, the user's cache folder."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Count everything again.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes; without it, one a core.")
    ] = None,
) -> None:
    """Measure cost tables from the emitted kernels, in the emulator (minutes)."""
    import os

    from . import targets
    from .console import progress
    from .count_cache import default_folder
    from .measure import measure_targets

    if every == bool(target) or (no_cache and cache):
        raise UsageError(
            "measure: --target TARGET (may be repeated) or --all is needed, one of them, and at"
            " most one of --cache and --no-cache; for example 'adaqat measure --target cortex-m4'"
        )
    chosen = targets.measurable() if every else [targets.get(name).name for name in target or []]
    with progress(f"measuring {', '.join(chosen)}") as advance:
        paths = measure_targets(
            list(dict.fromkeys(chosen)),
            out or Path(),
            compiler=compiler,
            cache=None if no_cache else cache or default_folder(),
            workers=jobs or os.cpu_count() or 1,
            progress=advance,
        )
    for path in paths:
        print(f"cost table: {path}")
