# SPDX-License-Identifier: Apache-2.0
"""Makes the cost table of a target: emit, compile, count, fit.

Every kind of node is emitted alone in many shapes, compiled as the product is compiled, run in
the emulator and counted exactly; the counts are fitted by non-negative coefficients per feature
of the node's work report. The largest error of each fit stands in the table.
"""

import datetime
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from threading import Lock

from ..hw_models import load_core, load_timing, timing_hash
from ..hw_models.board import load_board
from ..hw_models.table import Energy, Provenance, Row, Table
from . import targets
from .check import check
from .device import Device
from .emit import CModel, array_bytes, layout
from .errors import ToolError, UsageError
from .kernels import FAMILIES
from .measured_cases import CHAINS, MEASURED, Case, cases, chain, has_weights
from .row_fit import Sample, fit_row
from .table_file import table_text
from .toolchain import Toolchain, find_toolchain
from .types import IntType
from .vectors import make_inputs

ALL_BITS = tuple(range(1, 9))
LOOP_NUMBERS = frozenset(
    ("after", "bits", "block", "fields", "group", "iterations", "passes", "rest", "span",
     "straight_columns", "unroll", "unrolled", "words")
)  # fmt: skip
"""Parameters of kernel functions whose value, not only their presence, changes the loops."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    """All cases of one kind at one weight width, for input widths that share their kernels."""

    kind: str
    weight_bits: int
    act_bits: tuple[int, ...]
    act_signed: bool


def measure_target(target: str, out: Path, progress: Progress = lambda done, total: None) -> None:
    """Measure a target and write its cost table to the TOML file ``out``.

    Args:
        target: a C target whose core has a cycle table.
        out: file to write; its folder must exist.
        progress: called with (networks done, networks in all).

    Raises:
        UsageError: the target cannot be measured, or the file cannot be written.
        ToolError: no compiler or emulator.
    """
    if not out.parent.is_dir():
        raise UsageError(
            f"{out}: no folder {out.parent}; an existing folder is needed; create it first"
        )
    text = table_text(measure(target, progress))
    try:
        out.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written ({error.strerror}); a writable file is needed; choose "
            f"another path"
        ) from error


def measure(
    target: str,
    progress: Progress = lambda done, total: None,
    kinds: Iterable[str] | None = None,
    weight_bits: tuple[int, ...] = ALL_BITS,
) -> Table:
    """The cost table of a target; ``kinds`` and ``weight_bits`` restrict it, for tests."""
    described = targets.get(target)
    if described.family == "verilog":
        raise UsageError(
            f"{described.name}: no processor, so no instructions to count; prices of FPGA families"
            f" come from synthesis; run python benchmarks/fabrics.py {described.name}"
        )
    if described.core is None or load_core(described.core).timing is None:
        raise UsageError(
            f"{target}: its core has no cycle table; a table needs cycles; measure one of the "
            f"cores in hw_models/timing or add a cycle table"
        )
    toolchain = find_toolchain()
    chosen = [case for case in cases() if kinds is None or case.kind in kinds]
    jobs = _jobs(chosen, described.name, weight_bits)
    pairs = [(job, case) for job in jobs for case in chosen if case.kind == job.kind]
    lock, finished = Lock(), iter(range(1, len(pairs) + 1))

    def run(work: tuple[_Job, Case]) -> Sample:
        sample = _measure_case(work[1], work[0], described.name, toolchain)
        with lock:
            progress(next(finished), len(pairs))
        return sample

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        samples = list(pool.map(run, pairs))
    rows = []
    for job in jobs:
        found = [s for (of, _), s in zip(pairs, samples, strict=True) if of is job]
        rows.append(
            fit_row(job.kind, job.weight_bits, job.act_bits, job.act_signed, found)
        )
    run_bytes = _run_bytes(described.name, toolchain)
    return _table(described.name, described.core, toolchain, run_bytes, tuple(rows))


def _jobs(chosen: list[Case], target: str, weight_bits: tuple[int, ...]) -> list[_Job]:
    """Group input widths whose emitted text is the same: they need one measurement."""
    jobs = []
    for kind in dict.fromkeys(case.kind for case in chosen):
        same_kind = [case for case in chosen if case.kind == kind]
        for bits in weight_bits if has_weights(kind) else (0,):
            for signed in (False, True):
                groups: dict[str, list[int]] = {}
                for act_bits in reversed(ALL_BITS):
                    key = _text_key(same_kind, IntType(act_bits, signed), bits, target)
                    groups.setdefault(key, []).append(act_bits)
                jobs += [_Job(kind, bits, tuple(sorted(a)), signed) for a in groups.values()]
    return jobs


def _model(case: Case, type_: IntType, weight_bits: int, target: str) -> CModel:
    return layout(check(case.build(type_, weight_bits)), targets.get(target), MEASURED)


def _text_key(chosen: list[Case], type_: IntType, weight_bits: int, target: str) -> str:
    """Hash of the loops that are compiled for these cases.

    Masks, shifts and offsets are left out: they follow the width of the input and cost nothing.
    """
    digest = hashlib.sha256()
    for case in chosen:
        model = _model(case, type_, weight_bits, target)
        measured = next(node for node in model.nodes if node.node.name == MEASURED)
        parts = [_without_numbers(measured.body)]
        parts += [f"{name}{_structure(dict(values))}" for name, values in measured.plan.helpers]
        digest.update("\0".join(parts).encode())
    return digest.hexdigest()


def _without_numbers(text: str) -> str:
    return re.sub(r"\d\w*", "#", text)


def _structure(value: object, name: str = "") -> object:
    """What of a helper's parameters decides its loops."""
    if isinstance(value, dict):
        return {key: _structure(inner, key) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_structure(inner) for inner in value]
    if isinstance(value, bool) or value is None or name in LOOP_NUMBERS:
        return value
    return value != 0 if isinstance(value, int) else _without_numbers(str(value))


def _measure_case(case: Case, job: _Job, target: str, toolchain: Toolchain) -> Sample:
    type_ = IntType(max(job.act_bits), job.act_signed)
    model = _model(case, type_, job.weight_bits, target)
    core = model.target.core
    if core is None:
        raise UsageError(f"{target}: has no core; a core is needed to count; choose a core")
    codes = make_inputs(model.graph, samples=1, seed=1, extremes=False)
    with Device(model, core, toolchain=toolchain) as device:
        count = device.count(codes)
    if count is None:
        raise ToolError(f"{core}: cannot be counted; a core with a Unicorn model is needed")
    node = count.nodes[MEASURED]
    if node.cycles is None:
        raise ToolError(f"{core}: no cycles; a cycle table is needed; add hw_models/timing")
    return Sample(
        dict(model.graph.works(model.target.kernels))[MEASURED],
        node.instructions,
        node.cycles,
        count.node_code_bytes[MEASURED],
        {name: size for name, size in count.functions.items() if name not in ("run", "model_id")},
        array_bytes(next(n for n in model.nodes if n.node.name == MEASURED).plan),
    )


def _run_bytes(target: str, toolchain: Toolchain) -> tuple[int, int]:
    """Code around the nodes: (fixed, per node), from two chains of different length."""
    sizes = []
    for length in CHAINS:
        model = layout(check(chain(length)), targets.get(target), MEASURED)
        core = model.target.core
        assert core is not None
        with Device(model, core, toolchain=toolchain) as device:
            functions = device.functions()
        sizes.append(functions.get("run", 0) + functions.get("model_id", 0))
    each = -(-(sizes[1] - sizes[0]) // (CHAINS[1] - CHAINS[0]))
    return max(0, sizes[0] - each * CHAINS[0]), each


def _table(
    target: str,
    core: str,
    toolchain: Toolchain,
    run_bytes: tuple[int, int],
    rows: tuple[Row, ...],
) -> Table:
    board, timing = load_board(core), load_timing(core)
    described = load_core(core)
    return Table(
        name=target,
        core=core,
        board=board.title,
        clock_mhz=board.clock_mhz,
        units=_UNITS,
        claim=f"instructions are exact for the measured nodes; cycles: {timing.claim}",
        provenance=Provenance(
            command=f"adaqat measure --target {target}",
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            compiler=toolchain.kind,
            compiler_version=toolchain.version,
            flags=" ".join(toolchain.flags(described)),
            emulator=f"unicorn {version('unicorn')}",
            timing=core,
            timing_sha256=timing_hash(core),
            template_sha256=template_hash(described.kernels),
        ),
        energy=Energy.model_validate(board.energy.model_dump()),
        kernels=described.kernels,
        run_bytes=run_bytes,
        row=rows,
    )


_UNITS: dict[str, str] = {
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
