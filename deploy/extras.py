# SPDX-License-Identifier: Apache-2.0
"""Imports packages of the optional extras, with an install line when one is absent."""

from importlib import import_module
from typing import Any

from .errors import ToolError


def require(module: str, extra: str) -> Any:
    """The module called ``module``; raises `ToolError` naming the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ToolError(
            f"{module}: not installed ({error}); it comes with the extra {extra!r}; "
            f"pip install 'adaqat-deploy[{extra}]'"
        ) from error
