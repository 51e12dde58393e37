# SPDX-License-Identifier: Apache-2.0
"""Operators of the integer graph, one module each; importing the package registers them all."""

from __future__ import annotations

import importlib
import pkgutil

from .base import REGISTRY, Bound, CArray, CPlan, Op, TensorInfo, Window

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

__all__ = ["REGISTRY", "Bound", "CArray", "CPlan", "Op", "TensorInfo", "Window"]
