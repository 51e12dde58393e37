# SPDX-License-Identifier: Apache-2.0
"""Real functions of one value, by ONNX's names; of codes they become tables."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np

from ..requant import Float64
from .onnx_file import OnnxNode

Function = Callable[[Float64, OnnxNode], Float64]


def _attr(node: OnnxNode, name: str, default: float) -> float:
    return float(node.attr(name, default))


def _gelu(x: Float64, node: OnnxNode) -> Float64:
    if node.attr("approximate", "none") == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / np.sqrt(2))))


def _erf(x: Any) -> Any:
    return np.vectorize(erf, otypes=[np.float64])(x)


def _softplus(x: Float64) -> Float64:
    return np.logaddexp(0.0, x)


def _sigmoid(x: Float64) -> Float64:
    return np.exp(-np.logaddexp(0.0, -x))


def _elu(x: Float64, n: OnnxNode) -> Float64:
    return np.where(x > 0, x, _attr(n, "alpha", 1.0) * np.expm1(np.minimum(x, 0)))


FUNCTIONS: dict[str, Function] = {
    "Abs": lambda x, n: np.abs(x),
    "Elu": _elu,
    "Erf": lambda x, n: _erf(x),
    "Exp": lambda x, n: np.exp(x),
    "Gelu": _gelu,
    "HardSigmoid": lambda x, n: np.clip(_attr(n, "alpha", 0.2) * x + _attr(n, "beta", 0.5), 0, 1),
    "HardSwish": lambda x, n: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, n: np.where(x >= 0, x, _attr(n, "alpha", 0.01) * x),
    "Mish": lambda x, n: x * np.tanh(_softplus(x)),
    "Neg": lambda x, n: -x,
    "Sigmoid": lambda x, n: _sigmoid(x),
    "Softplus": lambda x, n: _softplus(x),
    "Softsign": lambda x, n: x / (1 + np.abs(x)),
    "Swish": lambda x, n: x * _sigmoid(_attr(n, "alpha", 1.0) * x),
    "Tanh": lambda x, n: np.tanh(x),
}
"""Real functions of one value by ONNX's name."""
