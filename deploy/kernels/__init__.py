# SPDX-License-Identifier: Apache-2.0
"""Kernel families: faster C for groups of cores, found and registered on import.

A family plans its own packing and names its own template for the operators it covers; whatever it
leaves out falls back to the portable kernel of the operator. Every family template carries a
portable C twin of each piece of assembly, so that the emitted file compiles, and gives the same
integers, everywhere.
"""

from __future__ import annotations

import importlib
import pkgutil

from .base import FAMILIES, KernelFamily, register

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

__all__ = ["FAMILIES", "KernelFamily", "register"]
