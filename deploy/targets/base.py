# SPDX-License-Identifier: Apache-2.0
"""What a target is, and the registry of all of them."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache

from ..errors import UsageError
from ..kernels import FAMILIES


@dataclass(frozen=True)
class Target:
    """A device the toolchain emits for.

    Attributes:
        name: as given to ``--target``.
        family: back end, "c" for generated C, "verilog" for a streaming circuit.
        core: emulated core, or None where there is none (generic C).
        table: name of the cost table in ``hw_models``, or None.
        aliases: other names accepted for it.
        reference: core on which a target without one is counted.
        kernels: names of kernel families, most specific first; the portable kernels come last.
    """

    name: str
    family: str
    core: str | None = None
    table: str | None = None
    aliases: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    reference: str | None = None


_TARGETS: dict[str, Target] = {}


def register(target: Target) -> Target:
    """Add a target; a name or alias that exists already is a programming error."""
    for name in (target.name, *target.aliases):
        if name in _TARGETS:
            raise ValueError(f"target {name!r} is defined twice")
    for family in target.kernels:
        if family not in FAMILIES:
            raise ValueError(f"target {target.name!r}: unknown kernel family {family!r}")
    _TARGETS.update(dict.fromkeys((target.name, *target.aliases), target))
    return target


@cache
def _load() -> dict[str, Target]:
    package = importlib.import_module(__package__ or "")
    for module in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{__package__}.{module}")
    return _TARGETS


def names() -> list[str]:
    """All target names, without aliases."""
    return sorted({target.name for target in _load().values()})


def measurable() -> list[str]:
    """Targets whose cost table can be measured by counting on a core."""
    return [name for name in names() if get(name).core or get(name).reference]


def get(name: str) -> Target:
    """The target of a name or alias.

    Raises:
        UsageError: unknown, listing the known ones.
    """
    targets = _load()
    if name not in targets:
        raise UsageError(
            f"--target: {name!r} is unknown; known targets: {', '.join(sorted(targets))}; choose"
            " one of them"
        )
    return targets[name]
