# SPDX-License-Identifier: Apache-2.0
"""What a kernel family is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ops.base import CPlan, Op, TensorInfo

Planner = Callable[[Op, Sequence[TensorInfo], TensorInfo], CPlan | None]
"""Plan of a node, or None where the family leaves the node to the portable kernel."""


@dataclass(frozen=True)
class KernelFamily:
    """Kernels for a group of cores.

    Attributes:
        name: for targets and tables.
        folder: template folder below ``templates``, for example ``c/dsp``.
        planners: by operator kind.
        templates: beginnings of the names of its own templates below ``templates/c``; other
            families' tables do not depend on them.
    """

    name: str
    folder: str
    planners: dict[str, Planner]
    templates: tuple[str, ...] = ()

    def plan(
        self, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
    ) -> tuple[CPlan, str] | None:
        """(plan, template) of a node, or None where the portable kernel serves it."""
        planner = self.planners.get(op.kind)
        if any(info.wide for info in (*inputs, output)):
            return None  # every kernel of a family reads bytes
        plan = planner(op, inputs, output) if planner else None
        return None if plan is None else (plan, f"{self.folder}/{plan.template}.c.j2")


FAMILIES: dict[str, KernelFamily] = {}
"""Families by name."""


def register(family: KernelFamily) -> KernelFamily:
    """Add a family; a name that exists already is a programming error."""
    if family.name in FAMILIES:
        raise ValueError(f"kernel family {family.name!r} is defined twice")
    FAMILIES[family.name] = family
    return family
