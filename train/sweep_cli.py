# SPDX-License-Identifier: Apache-2.0
"""``adaqat sweep``: the command line of `sweep`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from ..deploy.errors import UsageError
from .messages import messages

app = typer.Typer(add_completion=False)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="TOML file or packaged recipe")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the sweep; workers share it")],
    metric: Annotated[str, typer.Option(help="budget metric of the front")] = "flash_kb",
    low: Annotated[float, typer.Option(help="smallest limit")] = 0.0,
    high: Annotated[float, typer.Option(help="largest limit")] = 0.0,
    choose: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE,VALUE of the recipe, repeatable: train.lr=0.001,0.002"),
    ] = None,
    trials: Annotated[int, typer.Option(help="finished trials wanted in all")] = 10,
    data_root: Annotated[Path | None, typer.Option(help="folder of the image sets")] = None,
    database: Annotated[
        str | None, typer.Option(help="URL of a database for the trials, instead of a journal")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="take trials of dead workers up again; only with no other worker")
    ] = False,
) -> None:
    """Train a recipe under many budgets; a second call goes on, also beside the first."""
    with messages("adaqat sweep"):
        from .cli import packaged
        from .sweep import sweep

        rows = sweep(
            packaged(recipe),
            out,
            metric=metric,
            budget=(low, high),
            choices=_choices(choose or []),
            trials=trials,
            data_root=data_root,
            resume=resume,
            database=database,
        )
        for row in rows:
            typer.echo(f"{row['run']}: {row['validation']:.2f} % at {row[metric]:.4g} {metric}")


def _choices(texts: list[str]) -> dict[str, list[Any]]:
    """Values by recipe key; what is no TOML value is a word."""
    choices = {}
    for text in texts:
        key, separator, values = text.partition("=")
        if not separator or not values:
            raise UsageError(f"--choose: {text!r}; KEY=VALUE,VALUE is supported")
        choices[key] = [_value(value) for value in values.split(",")]
    return choices


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def main() -> None:
    """Console entry."""
    app(prog_name="adaqat sweep")
