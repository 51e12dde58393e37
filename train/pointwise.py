# SPDX-License-Identifier: Apache-2.0
"""Functions of one value: how they are named in records, computed, and what signs they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "selu": F.selu,
    "softplus": lambda x, beta=1.0, threshold=20.0: F.softplus(x, beta, threshold),
    "softsign": F.softsign,
    "abs": torch.abs,
    "square": torch.square,
    "affine": lambda x, factor=1.0, shift=0.0: x * factor + shift,
    "prelu": lambda x, slopes: F.prelu(x, slopes),
}
"""By name; ``slopes`` of prelu is a parameter, everything else numbers, or one per channel."""

NONNEGATIVE = frozenset({"sigmoid", "hardsigmoid", "softplus", "abs", "square"})
"""Never below zero."""
KEEPS_SIGN = frozenset(
    {"tanh", "hardswish", "silu", "mish", "gelu", "leaky_relu", "elu", "selu", "softsign", "prelu"}
)
"""Not below zero for inputs that are not."""


def evaluate(attrs: Mapping[str, Any], x: Tensor, slopes: Tensor | None) -> Tensor:
    """The function of a pointwise record; channels on axis 1.

    Args:
        attrs: ``function`` and its numbers; a tuple holds one per channel.
        x: real values.
        slopes: the parameter of a prelu.
    """
    numbers = {key: v for key, v in attrs.items() if key not in ("function", "slopes")}
    for key, value in numbers.items():
        if isinstance(value, tuple):  # one per channel
            given = torch.tensor(value, dtype=x.dtype, device=x.device)
            numbers[key] = given.reshape(-1, *[1] * (x.dim() - 2))
    if attrs["function"] == "prelu":
        assert slopes is not None
        numbers["slopes"] = slopes.to(x.dtype)
    return FUNCTIONS[attrs["function"]](x, **numbers)


def nonnegative(attrs: Mapping[str, Any], before: bool) -> bool:
    """Whether the result is never below zero, given whether the input never is."""
    name = attrs["function"]
    if name == "affine":
        numbers = (attrs.get("factor", 1.0), attrs.get("shift", 0.0))
        return before and all(min(v) >= 0 if isinstance(v, tuple) else v >= 0 for v in numbers)
    return name in NONNEGATIVE or (name in KEEPS_SIGN and before)
