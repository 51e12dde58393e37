# SPDX-License-Identifier: Apache-2.0
"""``adaqat plot``: pictures from run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .messages import messages

app = typer.Typer(add_completion=False)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="folders of training runs")],
    metric: Annotated[
        str | None,
        typer.Option(help="draw accuracy against this cost, for example flash_kb; else widths"),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the accuracy picture")] = Path(
        "."
    ),
) -> None:
    """Draw widths over time (into each run's folder), or accuracy against cost."""
    with messages("adaqat plot"):
        from .plots import plot_pareto, plot_widths

        paths = (
            plot_pareto(runs, metric, out)
            if metric is not None
            else [path for run in runs for path in plot_widths(run)]
        )
        for path in paths:
            typer.echo(str(path))


def main() -> None:
    """Console entry."""
    app(prog_name="adaqat plot")
