# SPDX-License-Identifier: Apache-2.0
"""Commands that hand over to the training side, which needs PyTorch."""

from __future__ import annotations

import sys
from typing import Any

import typer

from .errors import UsageError

UNREAD: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}
"""How such a command is registered: its options are read by the other side."""


def train(context: typer.Context) -> None:
    """Train with learned bit-widths (same as adaqat-train)."""
    _training("train", "cli", context)


def sweep(context: typer.Context) -> None:
    """Train a recipe under many budgets: a front of accuracy and cost; resumable."""
    _training("sweep", "sweep_cli", context)


def plot(context: typer.Context) -> None:
    """Draw the widths of a run, or accuracy against cost of several runs."""
    _training("plot", "plot_cli", context)


def _training(command: str, module: str, context: typer.Context) -> None:
    """Hand over to a command of the training side."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("torch") is None and not {"-h", "--help"} & set(context.args):
        raise UsageError(
            f"{command}: PyTorch is not installed; training needs it, deployment does not; run 'pip"
            " install adaqat-deploy[train]'"
        )
    sys.argv = [f"adaqat {command}", *context.args]
    import_module(f"..train.{module}", __package__).main()
