# SPDX-License-Identifier: Apache-2.0
"""``adaqat-train``: from a recipe to a folder with the trained network and its integer model.

Beside what `fit` writes, the folder gets ``model.adaqat`` and the test split as its input codes
(``test_codes.npy``, ``test_labels.npy``), so that deployment can be verified on real data without
torch: ``adaqat-deploy RUN --inputs RUN/test_codes.npy``. Only this module joins training with
deployment; torch is imported only when a run starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..deploy.budget import parse_budgets
from ..deploy.errors import UsageError
from .messages import messages

if TYPE_CHECKING:
    from .recipe import Recipe

RECIPES = (
    "digits",
    "digits_fpga",
    "digits_autoencoder",
    "digits_tcn",
    "digits_unet",
    "fashion_mnist",
    "fashion_mnist_ds_cnn",
    "cifar10_resnet8",
    "cifar10_resnet20",
    "cifar10_mobilenet",
)


def _recipe(
    name: str | None,
    model: str | None,
    data: str | None,
    target: str | None,
    budget: Sequence[str],
    seed: int | None,
    board: str | None = None,
    start: Path | None = None,
) -> Recipe:
    """The recipe file or packaged recipe, with the command line's changes."""
    from .recipe import Recipe

    if name is None and model is None:
        raise UsageError(
            "adaqat-train: neither a recipe nor --model found; give a TOML file, one "
            f"of {', '.join(RECIPES)}, or --model and --data"
        )
    values = (Recipe() if name is None else packaged(name)).model_dump(by_alias=True)
    if model is not None:
        values["model"] = model
    if data is not None:
        values["data"]["name"] = data
    if target is not None:
        values["search"]["target"] = target
    if board is not None:
        values["search"]["board"] = board
    if budget:
        values["search"]["budget"] = parse_budgets(budget, training=True)
    if start is not None:
        values["float"].update(start=str(start), epochs=0)
    if seed is not None:
        values["seed"] = seed
    return Recipe.parse(values, "options")


def packaged(name: str) -> Recipe:
    """A recipe by the name of a packaged one or by the path of its file."""
    from importlib.resources import as_file, files

    from .recipe import Recipe

    if name not in RECIPES:
        return Recipe.read(Path(name))
    with as_file(files("adaqat.train") / "recipes" / f"{name}.toml") as path:
        return Recipe.read(path)


class _Progress:
    """A bar per phase on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, TimeRemainingColumn

        self.screen = screen = Console(stderr=True)
        self.bar = Progress(
            *Progress.get_default_columns()[:3],
            TimeRemainingColumn(),
            console=screen,
            disable=not screen.is_terminal,
        )
        self.tasks: dict[str, Any] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["phase"] == "note":
            self.screen.print(f"note: {event['text']}", markup=False, highlight=False)
        if "epoch" not in event:
            return
        phase = "float" if event["phase"] == "float" else "mixed"
        if phase not in self.tasks:
            self.tasks[phase] = self.bar.add_task(phase, total=event["epochs"])
        text = f"{event['phase']:<6} loss {event['loss']:.3f} val {event['validation']:.1f} %"
        self.bar.update(self.tasks[phase], completed=event["epoch"], description=text)


def run(
    recipe: Annotated[
        str | None, typer.Argument(help="TOML file, or a packaged recipe: " + ", ".join(RECIPES))
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="folder of the run; nothing is written elsewhere"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="network by name, or file.py:function of (channels, classes)")
    ] = None,
    data: Annotated[str | None, typer.Option(help="data set, as digits or cifar10")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="folder of the image sets [default: $ADAQAT_DATA]")
    ] = None,
    target: Annotated[str | None, typer.Option(help="cost table, for example cortex-m4")] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="metric=number, repeatable: latency_ms, cycles, instructions, energy_uj, "
            "flash_kb, ram_kb, gbitops; FPGA: lut, bram, dsp, frames_per_second, latency_ms"
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(help="board with the target's core: clock, energy and waits for its flash"),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="trained float network: float.safetensors of another run")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="seed of everything random")] = None,
    resume: Annotated[bool, typer.Option(help="go on from the run's checkpoint")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="figures as JSON on stdout")] = False,
) -> None:
    """Train a mixed-precision network under a hardware budget."""
    with messages("adaqat-train"):
        folder = _folder(out)
        chosen = _recipe(recipe, model, data, target, budget or [], seed, board, start)
        _train(chosen, folder, data_root, resume, as_json)


def _folder(out: Path | None) -> Path:
    if out is None:
        raise UsageError("adaqat-train: no -o found; the folder of the run is needed")
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o: {out} is a file; a folder is needed")
    return out


def _train(recipe: Recipe, out: Path, data_root: Path | None, resume: bool, as_json: bool) -> None:
    import numpy as np

    from ..deploy.frontends.torch import lower
    from ..deploy.model_file import save
    from ..deploy.simulate import quantize_input
    from .training import fit

    progress = _Progress()
    with progress.bar:
        result = fit(recipe, out, data_root=data_root, resume=resume, listener=progress)
        if int(os.environ.get("RANK", "0")):
            return  # another process of torchrun writes the model
        graph = lower(result.module, result.example, name=recipe.name)
        save(graph, out / "model.adaqat")
        images, labels = result.test
        np.save(out / "test_codes.npy", quantize_input(graph, images.double().numpy()))
        np.save(out / "test_labels.npy", labels.numpy())
    figures = result.figures
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    scores, bits = figures["accuracy"], figures["weight_bits"]
    typer.echo(
        f"{figures['metric']} on {figures['data']['test']} test samples: "
        f"float {scores['float']:.2f} %, integer {scores['integer']:.2f} %"
    )
    typer.echo(
        f"mean weight bits: {bits['mean_per_weight']:.2f} per weight, "
        f"{bits['mean_per_layer']:.2f} per layer"
    )
    for metric, limit in figures.get("budget", {}).items():
        typer.echo(f"{metric}: {figures['predicted'][metric]:.4g} of {limit:.4g}")
    for trial in figures.get("candidates", []):
        score = "" if trial["score"] is None else f" cross-entropy {trial['score']:.4f}"
        typer.echo(f"candidate {trial['name']}:{score}{' (kept)' if trial['chosen'] else ''}")
    whys = {reason["name"]: reason["why"] for reason in figures.get("why", [])}
    for group in figures["widths"]:
        tied = group["reason"] if group["kept"] else ""
        notes = [text for text in (tied, whys.get(group["name"], group["reason"])) if text]
        note = f"  ({'; '.join(notes)})" if notes else ""
        size = f"{group['kept']} channels" if group["kept"] else f"{group['bits']} bits"
        typer.echo(f"  {group['name']:<28} {size}{note}")
    typer.echo(f"model: {out / 'model.adaqat'}")


app = typer.Typer(add_completion=False)
app.command()(run)


def main() -> None:
    """Console script ``adaqat-train``."""
    app(prog_name="adaqat-train")


if __name__ == "__main__":
    main()
