# SPDX-License-Identifier: Apache-2.0
"""Generated C: generic C99, and every core described in ``hw_models/cores``.

A new microcontroller of a known family is one more TOML file there; nothing changes here.
"""

from __future__ import annotations

from ...hw_models import core_names, load_core
from ...hw_models import names as table_names
from .base import Target, register

ALIASES = {"cortex-m4": ("cortex-m",)}

REFERENCE = "riscv32"
"""Generic C is counted on the plainest core: no kernels of its own, no flags, 31 registers."""


def _table(name: str) -> str | None:
    return name if name in table_names() else None


register(Target("c99", "c", table=_table("c99"), reference=REFERENCE))
for _core in core_names():
    register(
        Target(
            _core,
            "c",
            core=_core,
            table=_table(_core),
            aliases=ALIASES.get(_core, ()),
            kernels=load_core(_core).kernels,
        )
    )
