# SPDX-License-Identifier: Apache-2.0
"""Turns our errors into one line on standard error and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..deploy.errors import AdaqatError


@contextmanager
def messages(command: str) -> Iterator[None]:
    """Errors with an exit code end the command with their text; others are defects and pass."""
    try:
        yield
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None or not (
            isinstance(error, AdaqatError) or type(error).__name__ == "HwModelError"
        ):
            raise
        typer.echo(f"{command}: {error}", err=True)
        raise typer.Exit(int(code)) from None
