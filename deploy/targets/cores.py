# SPDX-License-Identifier: Apache-2.0
"""Generated C: generic C99, and every core described in ``hw_models/cores``.

A new microcontroller of a known family is one more TOML file there; nothing changes here.
"""

from __future__ import annotations

from ...hw_models import core_names, load_core
from ...hw_models import names as table_names
from .base import Target, register

ALIASES = {"cortex-m4": ("cortex-m",)}

register(Target("c99", "c"))
for _core in core_names():
    register(
        Target(
            _core,
            "c",
            core=_core,
            table=_core if _core in table_names() else None,
            aliases=ALIASES.get(_core, ()),
            kernels=load_core(_core).kernels,
        )
    )
