# SPDX-License-Identifier: Apache-2.0
"""Constants of a traced network: buffers, tensors made inside forward, and what follows of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from .nodes import real_shape

Numbers = float | tuple[float, ...]
"""One number, or one per channel."""


def is_constant(node: Any) -> bool:
    """Whether a node is no parameter and follows from no input."""
    if not isinstance(node, fx.Node):
        return False
    if node.op == "get_attr":
        return not isinstance(_attribute(node), nn.Parameter | None)
    inputs = node.all_input_nodes
    plain = node.op in ("call_function", "call_method")
    return plain and bool(inputs) and all(is_constant(inp) for inp in inputs)


def constant(node: Any) -> Tensor | None:
    """The value of a constant node, None for any other."""
    if not is_constant(node):
        return None
    if node.op == "get_attr":
        value = _attribute(node)
        return value if isinstance(value, Tensor) else None
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), constant)
    if node.op == "call_method":
        owner, *rest = args
        result = getattr(owner, str(node.target))(*rest, **kwargs)
    else:
        result = node.target(*args, **kwargs)
    return result if isinstance(result, Tensor) else None


def numbers(value: Any, beside: Any) -> Numbers | None:
    """A Python number, or a constant tensor with one number for all or for each channel.

    Args:
        value: an argument of a sum, product or quotient.
        beside: the other argument, whose axis 1 counts the channels.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found, shape = constant(value), real_shape(beside)
    if found is None or shape is None:
        return None
    flat = found.detach().double().reshape(-1)
    if flat.numel() == 1:
        return float(flat[0])
    padded = (1,) * (len(shape) - found.dim()) + tuple(found.shape)
    wanted = tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))
    return tuple(float(v) for v in flat) if padded == wanted else None


def apply(function: Any, *values: Numbers) -> Numbers:
    """A function of numbers, for every channel where some are per channel."""
    length = max((len(v) for v in values if isinstance(v, tuple)), default=0)
    if not length:
        return float(function(*values))
    rows = [v if isinstance(v, tuple) else (v,) * length for v in values]
    return tuple(float(function(*column)) for column in zip(*rows, strict=True))


@contextmanager
def plain_normalize(model: nn.Module) -> Iterator[None]:
    """For a moment, put a subtraction and a division in the place of torchvision's Normalize.

    Its own forward branches on the values of its constants, which nothing can trace.
    """
    replaced = []
    for parent in model.modules():
        for name, child in parent.named_children():
            kind = type(child)
            if kind.__name__ == "Normalize" and kind.__module__.startswith("torchvision."):
                replaced.append((parent, name, child))
    try:
        for parent, name, child in replaced:
            parent._modules[name] = _Normalize(child)
        yield
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


class _Normalize(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, module: Any) -> None:
        super().__init__()
        for name in ("mean", "std"):
            values = torch.as_tensor(getattr(module, name), dtype=torch.float32)
            self.register_buffer(name, values.reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _attribute(node: fx.Node) -> Any:
    owner: Any = node.graph.owning_module
    for part in str(node.target).split("."):
        owner = getattr(owner, part, None)
    return owner if isinstance(owner, torch.Tensor) else None
