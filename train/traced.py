# SPDX-License-Identifier: Apache-2.0
"""A traced graph made ready for reading: shapes of all tensors, and a check against the model."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from ..deploy.errors import UnsupportedError
from .in_place import follow_in_place


def shaped(model: nn.Module, graph: fx.GraphModule, batch: Tensor) -> fx.GraphModule:
    """The graph without dead code and with the shape of every tensor.

    Its result is compared with the model's: torch.fx writes ``x += y`` as ``x = x + y``, which is
    something else where x has a second name.
    """
    follow_in_place(graph)
    graph.graph.eliminate_dead_code()
    wanted = run_once(model, batch)
    try:
        with torch.no_grad():
            found = ShapeProp(graph).propagate(batch.clone())
    except Exception as error:
        raise _wrong_example(model, batch, error) from error
    if isinstance(wanted, Tensor) and isinstance(found, Tensor) and not _close(found, wanted):
        raise UnsupportedError(
            [
                f"{type(model).__name__}: the traced operations compute something else than the "
                "module; operations without side effects are supported; replace assignments in "
                "place"
            ]
        )
    return graph


def run_once(model: nn.Module, batch: Tensor) -> object:
    """The model's result for a batch; an `UnsupportedError` where the model does not take it."""
    try:
        with torch.no_grad():
            return model(batch.clone())
    except Exception as error:
        raise _wrong_example(model, batch, error) from error


def _close(found: Tensor, wanted: Tensor) -> bool:
    """Equal but for the order of additions in floating point."""
    if found.shape != wanted.shape:
        return False
    room = 1e-4 * float(wanted.float().abs().nan_to_num().max()) if wanted.numel() else 0.0
    return torch.allclose(found.float(), wanted.float(), 1e-3, room, equal_nan=True)


def _wrong_example(model: nn.Module, batch: Tensor, error: Exception) -> UnsupportedError:
    return UnsupportedError(
        [
            f"{type(model).__name__}: the example input of shape {tuple(batch.shape)} fails "
            f"({error}); an input the network accepts is needed; pass another example"
        ]
    )
