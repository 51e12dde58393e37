# SPDX-License-Identifier: Apache-2.0
"""A whole run from a recipe: float network, calibration, width search, quantised training."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..deploy.errors import UsageError
from ..hw_models import load
from . import ranks
from .calibration import calibrate
from .checkpoint import load_weights
from .controller import AdaQAT
from .data import Data, load_data
from .devices import breaks_channels_last, choose_device, device_of, emulates_bf16
from .models import build_model
from .module import QuantModule
from .phases import FILE, FLOAT_FILE, QuantisedPhase, float_phase
from .plots import TensorBoard
from .preparation import prepare
from .pricing import table_name
from .recipe import Recipe
from .result import RunResult, describe
from .session import Listener, Run
from .tasks import TASKS, Task, check_task


def fit(
    recipe: Recipe | Path | str,
    out: Path | None = None,
    *,
    data_root: Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> RunResult:
    """Run a recipe; in each process of ``torchrun``, a share of every mini-batch.

    Args:
        recipe: the recipe, or the path of its TOML file.
        out: folder for recipe.toml, log.jsonl, checkpoints and result.json; None writes nothing.
        data_root: folder of the image data sets.
        resume: go on from the checkpoint in ``out``; the run ends as if never interrupted.
        listener: called with every event (phase, epoch, figures).

    Returns:
        The trained prepared module, an example input and the figures of result.json. The accuracy
        called ``integer`` is that of the exact integer network on the test split.

    Raises:
        UsageError: a bad recipe, data folder, target or budget (before any training).
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(Path(recipe))
    torch.set_num_threads(recipe.threads)
    device = choose_device(recipe.device)
    joined = ranks.start(device)
    try:
        return _fit(recipe, out, data_root, resume, listener, device)
    finally:
        if joined:
            ranks.stop()


EMULATED_BF16 = (
    "bf16: true found, but this processor has no bfloat16 instructions: they are emulated and "
    "training is several times slower; bf16 = false is faster here and trains as well"
)


def _fit(
    recipe: Recipe,
    out: Path | None,
    data_root: Path | None,
    resume: bool,
    listener: Listener | None,
    device: torch.device,
) -> RunResult:
    split = recipe.seed if recipe.data.split is None else recipe.data.split
    data = load_data(
        recipe.data.name, data_root, seed=split, validation=recipe.data.validation
    )
    if recipe.data.limit is not None:
        images, labels = data.train
        data = Data(
            data.name,
            data.classes,
            (images[: recipe.data.limit], labels[: recipe.data.limit]),
            data.validation,
            data.test,
        )
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model, data.channels, data.classes)
    task = TASKS[recipe.task]
    smoothing = max(recipe.float_.label_smoothing, recipe.train.label_smoothing)
    check_task(task, recipe.data.augment, smoothing)
    task.check_labels(data)
    _check_output(recipe.model, model, data, task)
    example = data.test[0][:8].clone()
    if recipe.watch.tensorboard and out is not None and not ranks.rank():
        listener = _both(listener, TensorBoard(out, recipe.search.budget))
    run = Run(recipe, data, out, listener, table_name(recipe.search.target), device)
    run.usual_layout = device.type == "cpu" and breaks_channels_last(model)
    # before copies are made: the layout decides the order of sums
    model.to(device, memory_format=run.layout)  # type: ignore[call-overload]
    module = _prepare(recipe, model.eval(), data)
    found = run.restore(FILE, module) if resume else None
    started = resume and (found or run.restore(FLOAT_FILE, model)) is not None
    if not started:
        if recipe.float_.start is not None:
            load_weights(Path(recipe.float_.start), model)
        _refuse_early(run, model)
    if out is not None and not ranks.rank():
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        if not started:
            for old in ("log.jsonl", FILE, FLOAT_FILE):
                (out / old).unlink(missing_ok=True)
    if recipe.bf16 and emulates_bf16(device):
        run.log("note", text=EMULATED_BF16)
    float_phase(run, model, started, rewind=found is None)
    float_test = run.score(model.eval(), data.test)[0]
    if found is None:
        run.log("float", test=float_test)
        module = _prepare(recipe, model, data)
        sample = data.train[0][: recipe.train.calibration]
        calibrate(module, [sample[i : i + 128].to(device) for i in range(0, len(sample), 128)])
    controller = _controller(recipe, module, recipe.train.epochs * run.per_epoch)
    QuantisedPhase(run, module, controller, model, found).train()
    seconds = time.monotonic() - run.started
    # the figures are those of the processor, on which everything later runs
    figures = describe(recipe, data, module.cpu(), controller, float_test, seconds)
    if out is not None and not ranks.rank():
        text = json.dumps(figures, indent=2) + "\n"
        (out / "result.json").write_text(text, encoding="utf-8")
    run.log("done", **{k: figures[k] for k in ("accuracy", "seconds")})
    return RunResult(module, example, figures, controller, data.test)


@torch.no_grad()
def _check_output(name: str, model: nn.Module, data: Data, task: Task) -> None:
    images = data.train[0][:2]
    try:
        found = tuple(model.eval()(images).shape)
    except RuntimeError as error:
        raise UsageError(
            f"model: {name} cannot compute images of shape {tuple(images.shape)} of {data.name} "
            f"({error}); give a network for that shape, or other data"
        ) from error
    wanted = task.shape(images, data.classes)
    if found != wanted:
        fitting = [t.name for t in TASKS.values() if t.shape(images, data.classes) == found]
        advice = f"task = {fitting[0]!r} does" if fitting else (
            "train other networks in a loop of your own (examples/plain_loop.py)"
        )
        raise UsageError(
            f"model: {name} gives {found} for 2 inputs of {data.name}; task = {task.name!r} takes "
            f"{wanted}; {advice}"
        )


def _both(first: Listener | None, second: Listener) -> Listener:
    def listen(event: Mapping[str, Any]) -> None:
        if first is not None:
            first(event)
        second(event)

    return listen


def _refuse_early(run: Run, model: nn.Module) -> None:
    """Prepare an untrained copy, so that a bad budget or network fails in the first second."""
    training, recipe, data = model.training, run.recipe, run.data
    module = _prepare(recipe, model.eval(), data)
    calibrate(module, [data.train[0][:64].to(run.device)])
    _controller(recipe, module, 100)
    model.train(training)


def _prepare(recipe: Recipe, model: nn.Module, data: Data) -> QuantModule:
    options = recipe.quant.model_dump()
    for key in ("first_last_bits", "join_bits"):
        options[key] = options[key] or None
    example = data.train[0][:2].to(device_of(model))
    return prepare(model, example, target=recipe.search.target, **options)


def _controller(recipe: Recipe, module: QuantModule, steps: int) -> AdaQAT | None:
    search = recipe.search
    if not search.budget and search.strength == 0:
        return None
    return AdaQAT(
        module,
        steps=steps,
        target=load(search.target, search.board) if search.board else search.target,
        budget=search.budget or None,
        strength=search.strength,
        method=search.method,
        mode=search.mode,
        search=search.part,
        warm_up=search.warm_up,
        probes=search.probes,
        eta=search.eta,
        smoothing=search.smoothing,
        signal=search.signal if search.signal == "loss" else TASKS[recipe.task].signal,
        freeze=search.freeze,
        max_crossings=search.max_crossings,
        margin=search.margin,
        candidates=search.candidates,
    )
