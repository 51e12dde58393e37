# SPDX-License-Identifier: Apache-2.0
"""Makes the cost tables of targets: emit, compile, count, fit.

Every kind of node is emitted alone in many shapes, compiled as the product is compiled, run in
the emulator and counted exactly; the counts are fitted by non-negative coefficients per feature
of the node's work report. The largest error of each fit stands in the table.
"""

import hashlib
import multiprocessing
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache as remember
from pathlib import Path

from ..hw_models import Core, load_core
from ..hw_models.table import Row, Table
from . import targets
from .check import check
from .count_cache import CountCache
from .counted_models import Counted, built_core, count_models
from .device import Device
from .emit import CModel, array_bytes, layout
from .errors import UsageError
from .measured_cases import CHAINS, MEASURED, Case, cases, chain, counted_as, has_weights
from .row_fit import Sample, fit_row
from .table_file import table_text
from .table_record import new_table
from .targets import Target
from .toolchain import Toolchain, find_toolchain
from .types import IntType

ALL_BITS = tuple(range(1, 9))
LOOP_NUMBERS = frozenset((
    "after", "bits", "block", "fields", "group", "iterations", "passes", "rest", "span",
    "straight_columns", "unroll", "unrolled", "words"))  # fmt: skip
"""Parameters of kernel functions whose value, not only their presence, changes the loops."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    """All cases of one kind at one weight width, for input widths that share their kernels.

    models: the cases laid out for the widest input, in order.
    """

    kind: str
    weight_bits: int
    act_bits: tuple[int, ...]
    act_signed: bool
    models: tuple[CModel, ...]


@dataclass(frozen=True)
class _Task:
    """One kind at one weight width, on targets that may share counts: work for one process."""

    targets: tuple[str, ...]
    kind: str
    weight_bits: int
    compiler: str | None
    cache: Path | None


def measure_targets(
    names: Sequence[str],
    out: Path,
    *,
    compiler: str | None = None,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[Path]:
    """Measure targets and write one cost table each.

    Args:
        names: C targets.
        out: for one target the TOML file to write; else, or when it is a folder, the folder.
        compiler: as in `find_toolchain`; left out, the one preferred for the core.
        cache: folder of counts from earlier calls, None to count everything.
        workers: processes.
        progress: called with (steps done, steps in all).

    Returns:
        The files, in the order of ``names``.

    Raises:
        UsageError: a target cannot be measured, or a file cannot be written.
        ToolError: no compiler or emulator.
    """
    folder = out if out.is_dir() or len(names) > 1 else out.parent
    if not folder.is_dir():
        raise UsageError(
            f"{out}: no folder {folder}; an existing folder is needed; create it first"
        )
    tables = measure_tables(
        names, compiler=compiler, cache=cache, workers=workers, progress=progress
    )
    paths = []
    for table in tables:
        path = folder / f"{table.file_name}.toml" if folder == out else out
        try:
            path.write_text(table_text(table), encoding="utf-8", newline="\n")
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be written ({error.strerror}); a writable file is needed; choose "
                f"another path"
            ) from error
        paths.append(path)
    return paths


def measure(
    target: str,
    progress: Progress = lambda done, total: None,
    kinds: Iterable[str] | None = None,
    weight_bits: tuple[int, ...] = ALL_BITS,
) -> Table:
    """The cost table of one target, counted afresh in this process."""
    return measure_tables([target], progress=progress, kinds=kinds, weight_bits=weight_bits)[0]


def measure_tables(
    names: Sequence[str],
    *,
    compiler: str | None = None,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
    kinds: Iterable[str] | None = None,
    weight_bits: tuple[int, ...] = ALL_BITS,
) -> list[Table]:
    """Cost tables of targets; ``kinds`` and ``weight_bits`` restrict them, for tests.

    Other arguments and errors as of `measure_targets`.
    """
    chosen = [_measurable(name) for name in names]
    CountCache(cache)
    groups: dict[str, list[str]] = {}
    for target, core in chosen:
        groups.setdefault(core.code_of or core.name, []).append(target.name)
        _compiler(core, compiler)
    present = dict.fromkeys(case.kind for target, _ in chosen for case in _cases_of(target))
    only = present if kinds is None else set(kinds)
    # Longest first, so that no process ends up alone with a long one.
    tasks = [
        _Task(tuple(group), kind, bits, compiler, cache)
        for kind in present
        if kind in only
        for group in groups.values()
        for bits in (weight_bits if has_weights(kind) else (0,))
    ]
    rows: dict[str, list[Row]] = {target.name: [] for target, _ in chosen}
    for done, found in enumerate(_run_all(tasks, workers), start=1):
        for name, more in found.items():
            rows[name] += more
        progress(done, len(tasks))
    tables = []
    for target, core in chosen:
        toolchain = _compiler(core, compiler)
        built = built_core(core, toolchain)
        around = _run_bytes(target, built, toolchain)
        flags = toolchain.flags(built)
        tables.append(new_table(target, core, toolchain, flags, around, tuple(rows[target.name])))
    return tables


@remember
def _cases_of(target: Target) -> list[Case]:
    """The cases, under the kinds that the target's kernels count them as."""
    return [counted_as(case, target.kernels) for case in cases()]


def _measurable(name: str) -> tuple[Target, Core]:
    target = targets.get(name)
    if target.family == "verilog":
        raise UsageError(
            f"{target.name}: no processor, so no instructions to count; prices of FPGA families"
            f" come from synthesis; run python benchmarks/fabrics.py {target.name}"
        )
    core = target.core or target.reference
    if core is None:
        raise UsageError(
            f"{name}: has no core to count on; C targets are supported; choose one of them"
        )
    return target, load_core(core)


def _compiler(core: Core, compiler: str | None) -> Toolchain:
    return find_toolchain(compiler, architecture=core.architecture)


def _run_all(tasks: list[_Task], workers: int) -> Iterator[dict[str, list[Row]]]:
    """Rows by target of every task, in order."""
    if workers == 1 or len(tasks) == 1:
        yield from map(_run_task, tasks)
        return
    # Fresh processes: this one may have threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(_run_task, tasks)


def _run_task(task: _Task) -> dict[str, list[Row]]:
    cache = CountCache(task.cache)
    found: dict[str, list[Row]] = {}
    for name in task.targets:
        target, core = _measurable(name)
        chosen = [case for case in _cases_of(target) if case.kind == task.kind]
        jobs = _jobs(chosen, name, (task.weight_bits,))
        models = [model for job in jobs for model in job.models]
        counts = iter(count_models(models, core, _compiler(core, task.compiler), cache))
        found[name] = []
        for job in jobs:
            samples = [_sample(model, next(counts), target) for model in job.models]
            found[name].append(
                fit_row(job.kind, job.weight_bits, job.act_bits, job.act_signed, samples)
            )
    return found


def _sample(model: CModel, counted: Counted, target: Target) -> Sample:
    around = ("run", "model_id")
    return Sample(
        dict(model.graph.works(target.kernels))[MEASURED],
        counted.instructions,
        counted.cycles if target.core is not None else None,
        counted.code_bytes,
        {name: size for name, size in counted.functions.items() if name not in around},
        array_bytes(next(n for n in model.nodes if n.node.name == MEASURED).plan),
        counted.taken,
    )


def _jobs(chosen: list[Case], target: str, weight_bits: tuple[int, ...]) -> list[_Job]:
    """Group input widths whose emitted text is the same: they need one measurement."""
    jobs: list[_Job] = []
    for kind in dict.fromkeys(case.kind for case in chosen):
        same_kind = [case for case in chosen if case.kind == kind]
        for bits in weight_bits if has_weights(kind) else (0,):
            for signed in (False, True):
                groups: dict[str, _Job] = {}
                for act_bits in reversed(ALL_BITS):
                    type_ = IntType(act_bits, signed)
                    models = tuple(_model(case, type_, bits, target) for case in same_kind)
                    widest = groups.setdefault(
                        _text_key(models), _Job(kind, bits, (), signed, models)
                    )
                    both = tuple(sorted((*widest.act_bits, act_bits)))
                    groups[_text_key(models)] = replace(widest, act_bits=both)
                jobs += groups.values()
    return jobs


def _model(case: Case, type_: IntType, weight_bits: int, target: str) -> CModel:
    return layout(check(case.build(type_, weight_bits)), targets.get(target), MEASURED)


def _text_key(models: Iterable[CModel]) -> str:
    """Hash of the loops that are compiled for these networks.

    Masks, shifts and offsets are left out: they follow the width of the input and cost nothing.
    """
    digest = hashlib.sha256()
    for model in models:
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


def _run_bytes(target: Target, core: Core, toolchain: Toolchain) -> tuple[int, int]:
    """Code around the nodes: (fixed, per node), from two chains of different length."""
    sizes = []
    for length in CHAINS:
        model = layout(check(chain(length)), target, MEASURED)
        with Device(model, core.name, toolchain=toolchain) as device:
            functions = device.functions()
        sizes.append(functions.get("run", 0) + functions.get("model_id", 0))
    each = -(-(sizes[1] - sizes[0]) // (CHAINS[1] - CHAINS[0]))
    return max(0, sizes[0] - each * CHAINS[0]), each
