# SPDX-License-Identifier: Apache-2.0
"""Reads calls of functions of one value."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from .nodes import Call, Unsupported, bind, parameter_path
from .pointwise import FUNCTIONS


def _pointwise(name: str, signature: str = "input") -> Callable[[fx.Node], Call]:
    """A reader of a function of one value; ``signature`` names its numbers as `FUNCTIONS` do."""

    def read(n: fx.Node) -> Call:
        b = bind(n, signature)
        numbers = {k: v for k, v in b.items() if k not in ("input", "inplace") and v is not None}
        return Call("pointwise", [b["input"]], {"function": name, **numbers})

    assert name in FUNCTIONS
    return read


def _read_leaky(n: fx.Node) -> Call:
    b = bind(n, "input negative_slope=0.01 inplace=None")
    slope = float(b["negative_slope"])
    return Call("pointwise", [b["input"]], {"function": "leaky_relu", "slope": slope})


def _read_prelu(n: fx.Node) -> Call:
    b = bind(n, "input weight")
    return Call(
        "pointwise", [b["input"]], {"function": "prelu", "slopes": parameter_path(b["weight"])}
    )


def _read_pow(n: fx.Node) -> Call:
    b = bind(n, "input exponent")
    if b["exponent"] not in (2, 2.0):
        raise Unsupported(f"the power {b['exponent']}; 2 is supported; use another function")
    return Call("pointwise", [b["input"]], {"function": "square"})


POINTWISE: dict[Any, Callable[[fx.Node], Call]] = {
    **dict.fromkeys([torch.sigmoid, F.sigmoid, "sigmoid"], _pointwise("sigmoid")),
    **dict.fromkeys([torch.tanh, F.tanh, "tanh"], _pointwise("tanh")),
    **dict.fromkeys([torch.abs, "abs"], _pointwise("abs")),
    **dict.fromkeys([torch.square, "square"], _pointwise("square")),
    **dict.fromkeys([torch.pow, operator.pow, "pow"], _read_pow),
    F.hardswish: _pointwise("hardswish", "input inplace=None"),
    F.hardsigmoid: _pointwise("hardsigmoid", "input inplace=None"),
    F.silu: _pointwise("silu", "input inplace=None"),
    F.mish: _pointwise("mish", "input inplace=None"),
    F.gelu: _pointwise("gelu", "input approximate=None"),
    F.elu: _pointwise("elu", "input alpha=1 inplace=None"),
    F.selu: _pointwise("selu", "input inplace=None"),
    F.softplus: _pointwise("softplus", "input beta=1 threshold=20"),
    F.leaky_relu: _read_leaky,
    **dict.fromkeys([F.prelu, torch.prelu], _read_prelu),
}
"""Readers by function or method name."""
