# SPDX-License-Identifier: Apache-2.0
"""Errors meant for the user: which thing, what was found, what is supported, what to do."""

from __future__ import annotations

from collections.abc import Sequence


class AdaqatError(Exception):
    """Base of every error that the command line prints without a traceback."""

    exit_code = 2


class UsageError(AdaqatError):
    """A wrong argument, path, name or budget."""


class ModelFileError(AdaqatError):
    """A model file that is missing, truncated, foreign or inconsistent."""


class ToolError(AdaqatError):
    """A compiler, emulator or other outside program that is missing or failed."""


class UnsupportedError(AdaqatError):
    """A model that holds something this release cannot express; lists every such thing.

    Args:
        problems: one line each, shaped ``<node>: <found>; <supported>; <what to do>``.
    """

    exit_code = 3

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in this model:"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems)]))
