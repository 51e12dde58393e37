# SPDX-License-Identifier: Apache-2.0
"""Training state in one safetensors file: tensors, with everything else as JSON in its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..deploy.errors import ModelFileError

VERSION = 2
MODEL, OPTIMIZER, EXTRA = "model/", "optimizer/", "extra/"


def save_checkpoint(
    path: Path,
    module: nn.Module,
    state: Mapping[str, Any],
    optimizer: torch.optim.Optimizer | None = None,
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one.

    Args:
        path: the file.
        module: its ``state_dict`` (weights, ranges, tables, widths with their counters) is saved.
        state: JSON values: epoch, phase, the controller's state.
        optimizer: its state tensors are saved too.
        extra: other tensors (random state, averages), given back by `load_checkpoint`.
    """
    tensors = {MODEL + k: v.detach().contiguous().clone() for k, v in module.state_dict().items()}
    if optimizer is not None:
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"{OPTIMIZER}{index}/{key}"] = value.detach().contiguous().clone()
    for key, value in (extra or {}).items():
        tensors[EXTRA + key] = value.detach().contiguous().clone()
    temporary = path.with_name(path.name + ".part")
    save_file(
        tensors, temporary, {"adaqat": json.dumps({"version": VERSION, **state}, sort_keys=True)}
    )
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_weights(path: Path, module: nn.Module) -> None:
    """Load a float network: a checkpoint of its training, or its plain ``state_dict``.

    Raises:
        ModelFileError: missing, no safetensors file, or another network.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"float.start: {path} cannot be read ({error}); float.safetensors of a run or a "
            "state_dict saved with safetensors is expected"
        ) from error
    own = {k.removeprefix(MODEL): v for k, v in tensors.items() if k.startswith(MODEL)} or tensors
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise ModelFileError(
            f"float.start: {path} belongs to another network ({error}); give one of the recipe's "
            "model"
        ) from error


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    judge: Callable[[Mapping[str, Any]], None] | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Restore a module (and an optimiser built over the same parameters).

    ``judge`` sees the state before anything is restored, and may raise: it knows better than a
    module that does not fit why the checkpoint is another run's.

    Returns:
        The state and the extra tensors.

    Raises:
        ModelFileError: missing, truncated, foreign, another version, or another network.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        state = json.loads(metadata["adaqat"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelFileError(
            f"checkpoint: {path} cannot be read ({error!r}); a checkpoint of "
            "adaqat-train is expected; train again"
        ) from error
    if state.get("version") != VERSION:
        raise ModelFileError(
            f"checkpoint: {path} has version {state.get('version')}; version "
            f"{VERSION} is supported; train again"
        )
    if judge is not None:
        judge(state)
    try:
        module.load_state_dict(
            {k.removeprefix(MODEL): v for k, v in tensors.items() if k.startswith(MODEL)}
        )
    except RuntimeError as error:
        raise ModelFileError(
            f"checkpoint: {path} belongs to another network ({error}); use the "
            "recipe it was made with"
        ) from error
    if optimizer is not None:
        saved: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(OPTIMIZER):
                index, name = key.removeprefix(OPTIMIZER).split("/")
                saved.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(
            {"state": saved, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    others = {k.removeprefix(EXTRA): v for k, v in tensors.items() if k.startswith(EXTRA)}
    return dict(state), others
