# SPDX-License-Identifier: Apache-2.0
"""From measured nodes to one row of a cost table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hw_models.table import Row
from ..hw_models.work import Work
from .nonnegative import Float64, fit_relative


@dataclass(frozen=True)
class Sample:
    """One measured node: its work, exact instructions, estimated cycles, and code sizes.

    cycles: None for a core without a cycle table, then in all samples of a row.

    shared: bytes of the functions the node calls, by name.
    const_bytes: bytes of the node's constant arrays. taken: taken branches.
    """

    work: Work
    instructions: int
    cycles: float | None
    code_bytes: int
    shared: Mapping[str, int]
    const_bytes: int
    taken: int = 0


def fit_row(
    kind: str,
    weight_bits: int,
    act_bits: tuple[int, ...],
    act_signed: bool,
    samples: list[Sample],
) -> Row:
    """The table row of nodes that share their kernels."""
    features, instruction_errors, cycle_errors = fit_samples(samples)
    shared = common_functions(samples)
    by_form = {
        form: [sample for sample in samples if sample.work.form == form]
        for form in sorted({sample.work.form for sample in samples})
    }
    common = {form: common_functions(found) for form, found in by_form.items() if len(found) > 1}
    form_shared = {
        form: {name: size for name, size in found.items() if name not in shared}
        for form, found in common.items()
    }
    return Row(
        kind=kind,
        weight_bits=(weight_bits,),
        act_bits=act_bits,
        act_signed=(act_signed,),
        features=features,
        code_bytes={
            form: _usual_code(found, {**shared, **form_shared.get(form, {})})
            for form, found in by_form.items()
        },
        shared=shared,
        form_shared={form: found for form, found in form_shared.items() if found},
        stored=_fit_stored(samples),
        taken_share=_rounded(np.median([s.taken / s.instructions for s in samples])),
        samples=len(samples),
        median_error=_figures(np.median(instruction_errors), _known(np.median, cycle_errors)),
        max_error=_figures(instruction_errors.max(), _known(np.max, cycle_errors)),
    )


def fit_samples(
    samples: list[Sample],
) -> tuple[dict[str, tuple[float, ...]], Float64, Float64 | None]:
    """Coefficients (instructions, cycles) per feature, and each sample's relative errors.

    Without cycles in the samples a coefficient is (instructions,) and their errors are None.
    """
    names = sorted({name for sample in samples for name in sample.work.features})
    counts = np.array([[s.work.features.get(name, 0) for name in names] for s in samples], float)
    instructions, errors = fit_relative(counts, np.array([float(s.instructions) for s in samples]))
    cycles: Float64 | None = None
    cycle_errors: Float64 | None = None
    estimates = [s.cycles for s in samples if s.cycles is not None]
    if len(estimates) == len(samples):
        cycles, cycle_errors = fit_relative(counts, np.array(estimates))
    features = {
        name: _figures(instructions[i], None if cycles is None else cycles[i])
        for i, name in enumerate(names)
    }
    return features, errors, cycle_errors


def common_functions(samples: list[Sample]) -> dict[str, int]:
    """Functions that every one of these nodes calls, with their sizes.

    A network holds them once. A function that only some call was made for a shape or for
    constants; it counts as the node's own code, unless all nodes of a form call it.
    """
    names = set.intersection(*(set(sample.shared) for sample in samples))
    return {name: max(s.shared[name] for s in samples) for name in sorted(names)}


def _usual_code(samples: list[Sample], shared: Mapping[str, int]) -> int:
    """Upper quartile of the nodes' own code: a sum over a network rarely exceeds it."""
    sizes = [
        s.code_bytes + sum(size for name, size in s.shared.items() if name not in shared)
        for s in samples
    ]
    return int(np.ceil(np.quantile(sizes, 0.75)))


def _fit_stored(samples: list[Sample]) -> dict[str, float]:
    """Bytes per stored unit, from the nodes whose work report has such units."""
    packed = [sample for sample in samples if sample.work.stored]
    names = sorted({name for sample in packed for name in sample.work.stored})
    if not packed:
        return {}
    counts = np.array([[s.work.stored.get(name, 0) for name in names] for s in packed], float)
    bytes_, _ = fit_relative(counts, np.array([float(s.const_bytes) for s in packed]))
    return {name: _rounded(value) for name, value in zip(names, bytes_, strict=True)}


def _rounded(value: float | np.floating[Any]) -> float:
    return float(f"{value:.5g}")


def _known(statistic: Callable[[Float64], Any], errors: Float64 | None) -> float | None:
    return None if errors is None else float(statistic(errors))


def _figures(instructions: float, cycles: float | None) -> tuple[float, ...]:
    """(instructions, cycles), without the second where it is unknown: TOML has no null."""
    return tuple(_rounded(value) for value in (instructions, cycles) if value is not None)
