# SPDX-License-Identifier: Apache-2.0
"""What the phases of a run share: events, the order of the data, learning rates, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..deploy.errors import UsageError
from . import ranks
from .checkpoint import load_checkpoint, save_checkpoint
from .data import Data, Pair, batches
from .devices import random_state
from .recipe import OptimiserSection, Recipe
from .tasks import TASKS, Task

Listener = Callable[[Mapping[str, Any]], None]
RAMP = 20
"""Steps over which the learning rate rises."""
HARMLESS = ("name", "save", "watch")
"""Parts of a recipe that may differ when a run is resumed: they change no number."""


@dataclass
class Progress:
    """Where a phase stands.

    Attributes:
        epoch: whole epochs done.
        index: mini-batches of the current epoch done.
        total: sum of their losses.
        frozen_at: the step after which the widths no longer moved.
    """

    epoch: int = 0
    index: int = 0
    total: float = 0.0
    frozen_at: int = 0


@dataclass
class Run:
    """A recipe being run.

    Attributes:
        recipe: what to do.
        data: the splits.
        out: folder of the run; None writes nothing.
        listener: called with every event.
        table: name and hash of the cost table.
        device: where the network lies; data stay where they are until a batch is made.
        usual_layout: whatever the recipe says, channels are not innermost.
        started: when, for the duration.
        saved_at: when the last checkpoint was written.
    """

    recipe: Recipe
    data: Data
    out: Path | None
    listener: Listener | None
    table: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    usual_layout: bool = False
    started: float = field(default_factory=time.monotonic)
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def task(self) -> Task:
        """What the network is trained for."""
        return TASKS[self.recipe.task]

    def log(self, phase: str, **values: Any) -> None:
        """One event: to the listener and, as a line of JSON, to log.jsonl; on rank 0 only."""
        if ranks.rank():
            return
        event = {"phase": phase, **values}
        if self.out is not None:
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        if self.listener is not None:
            self.listener(event)

    def file(self, name: str) -> Path | None:
        """A path in the run's folder."""
        return None if self.out is None else self.out / name

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of images and of the network."""
        last = self.recipe.channels_last and not self.usual_layout
        return torch.channels_last if last else torch.contiguous_format

    def narrow(self) -> Any:
        """Context in which convolutions compute in bfloat16, if the recipe says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16)

    def place(self, x: Tensor) -> Tensor:
        """A batch on the device, laid out as the network is."""
        layout = self.layout if x.dim() == 4 else torch.contiguous_format
        return x.to(self.device, non_blocking=True).contiguous(memory_format=layout)

    def score(self, net: Callable[[Tensor], Tensor], pair: Pair) -> tuple[float, float]:
        """(score in percent, mean loss) of a network on this run's device."""
        return self.task.score(net, pair, self.device)

    @property
    def per_epoch(self) -> int:
        """Full mini-batches in the training split."""
        count = len(self.data.train[0])
        return max(1, count // min(self.recipe.data.batch, count))

    def epoch(self, seed: int, skip: int = 0) -> Iterator[Pair]:
        """Shuffled global batches from number ``skip`` on.

        Every epoch has its own seed, so a resumed run sees the same batches; those that are
        skipped draw their augmentation all the same.
        """
        torch.manual_seed(seed)
        section = self.recipe.data
        found = batches(self.data.train, section.batch, seed=seed, augment=section.augment)
        for _ in range(skip):
            next(found)
        return found

    def due(self, step: int) -> bool:
        """Whether the recipe wants a checkpoint after step number ``step``."""
        section = self.recipe.save
        if section.steps and (step + 1) % section.steps == 0:
            return True
        late = time.monotonic() - self.saved_at > section.minutes * 60
        return bool(ranks.mean(float(late)) > 0) if section.minutes else False

    def save(
        self,
        name: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        phase: str,
        progress: Progress,
        tensors: Mapping[str, Tensor] | None = None,
        **state: Any,
    ) -> None:
        """Write a checkpoint that says what it belongs to; on rank 0 only."""
        path = self.file(name)
        if path is None or ranks.rank():
            return
        log = self.file("log.jsonl")
        save_checkpoint(
            path,
            module,
            {
                "phase": phase,
                **asdict(progress),
                **state,
                "recipe": self.recipe.model_dump(by_alias=True),
                "table": self.table,
                "processes": ranks.size(),
                "log_bytes": log.stat().st_size if log is not None and log.exists() else 0,
            },
            optimizer,
            {**random_state(self.device), **(tensors or {})},
        )
        self.saved_at = time.monotonic()

    def restore(
        self,
        name: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> tuple[Progress, dict[str, Any], dict[str, Tensor]] | None:
        """Load a checkpoint if there is one: (progress, state, extra tensors).

        Raises:
            UsageError: it was made with another recipe, table or number of processes; says which.
        """
        path = self.file(name)
        if path is None or not path.exists():
            return None
        state, tensors = load_checkpoint(path, module, optimizer, partial(self._judge, path))
        progress = Progress(*(state[key] for key in asdict(Progress())))
        return progress, state, tensors

    def _judge(self, path: Path, state: Mapping[str, Any]) -> None:
        """Refuse another run's checkpoint."""
        changes = differences(_completed(state["recipe"]), self.recipe.model_dump(by_alias=True))
        if state.get("table") != self.table:
            changes.append(f"cost table: {state.get('table')} -> {self.table}")
        if state.get("processes") != ranks.size():
            changes.append(f"processes: {state.get('processes')} -> {ranks.size()}")
        if changes:
            raise UsageError(
                f"resume: {path} belongs to another run ({'; '.join(changes)}); a run goes on only "
                "as it was started; undo the change or start a new run in another folder"
            )

    def rewind_log(self, size: int) -> None:
        """Forget events after a checkpoint: they will happen again."""
        log = self.file("log.jsonl")
        if log is not None and log.exists() and not ranks.rank():
            with log.open("r+b") as file:
                file.truncate(min(size, log.stat().st_size))


def _completed(old: Mapping[str, Any]) -> Mapping[str, Any]:
    """An older version's recipe with the defaults of options that it did not know."""
    try:
        return Recipe.parse(old).model_dump(by_alias=True)
    except UsageError:
        return old


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``key: old -> new`` for every setting that differs and matters."""
    found = []
    for key in [*new, *(k for k in old if k not in new)]:
        if not prefix and key in HARMLESS:
            continue
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found


def make_optimizer(section: OptimiserSection, groups: list[dict[str, Any]]) -> Any:
    """The section's optimiser; ``base`` of each group is its rate before the schedule."""
    for group in groups:
        group.setdefault("base", section.lr)
        group["lr"] = group["base"]
        group.setdefault("weight_decay", section.weight_decay)
    if section.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    return torch.optim.Adam(groups)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate to its base times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor


def cosine(step: int, steps: int) -> float:
    """Half a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))
