# SPDX-License-Identifier: Apache-2.0
"""A cost table's head: where its figures are from, so that they can be made again."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

from ..hw_models import Core, load_timing, timing_hash
from ..hw_models.board import default_board
from ..hw_models.compilers import compiled_by
from ..hw_models.table import Energy, Provenance, Row, Table
from .kernels import FAMILIES
from .qemu import qemu_version
from .targets import Target
from .toolchain import Toolchain

NO_CYCLES = "no cycle model of this core is worth using"


def new_table(
    target: Target,
    core: Core,
    toolchain: Toolchain,
    flags: Sequence[str],
    run_bytes: tuple[int, int],
    rows: tuple[Row, ...],
) -> Table:
    """The table of measured rows.

    Args:
        target: what was measured.
        core: the emulated core.
        toolchain: compiler.
        flags: its flags.
        run_bytes: code around the nodes, (fixed, per node).
        rows: the figures.
    """
    timing = None if core.timing is None else load_timing(core.timing)
    board = default_board(core.name) if target.core is not None else None
    claim = NO_CYCLES if timing is None else timing.claim
    if target.core is None:
        claim = f"counted on {core.title} with the portable kernels; {REFERENCE}"
    return Table(
        name=target.name,
        core=core.name,
        board=None if board is None else board.title,
        clock_mhz=None if board is None else board.clock_mhz,
        units=UNITS,
        claim=f"instructions are exact for the measured nodes; cycles: {claim}",
        provenance=Provenance(
            command=f"adaqat measure --target {target.name}"
            + ("" if compiled_by(core.architecture) == toolchain.kind else " --compiler zig"),
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            compiler=toolchain.kind,
            compiler_version=toolchain.version,
            flags=" ".join(flags),
            emulator=_emulator(core),
            timing=core.timing if target.core is not None else None,
            timing_sha256=(
                None if timing is None or target.core is None else timing_hash(timing.core)
            ),
            template_sha256=template_hash(target.kernels),
        ),
        energy=(
            Energy(status="unknown", source="this target is no particular device")
            if board is None
            else Energy.model_validate(board.energy.model_dump())
        ),
        kernels=target.kernels,
        run_bytes=run_bytes,
        row=rows,
    )


REFERENCE = "another core has other cycles, so there are none"


def _emulator(core: Core) -> str:
    return qemu_version() if core.unicorn is None else f"unicorn {version('unicorn')}"


UNITS: dict[str, str] = {
    "features": "[instructions, cycles] per unit of the feature",
    "code_bytes": "bytes of one node's own functions by its form, upper quartile",
    "shared": "bytes of functions that a network holds once",
    "stored": "bytes of constants per unit",
    "run_bytes": "bytes of the code around the nodes: [fixed, per node]",
    "nj_per_cycle": "nanojoule per core cycle",
}


def template_hash(kernels: Sequence[str]) -> str:
    """Hex SHA-256 over the C templates that a table's figures depend on.

    Args:
        kernels: kernel families of the table; the others' templates are left out.
    """
    own = {prefix for name in kernels for prefix in FAMILIES[name].templates}
    other = {prefix for family in FAMILIES.values() for prefix in family.templates} - own
    skipped = ("firmware/", "tools/", "project/", "self_test", *sorted(other))
    digest = hashlib.sha256()
    root = files("adaqat.templates") / "c"
    for name, entry in sorted(_walk(root, "")):
        if not name.startswith(skipped):
            digest.update(name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()


def _walk(folder: Traversable, prefix: str) -> Iterable[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".j2"):
            yield prefix + entry.name, entry
