# SPDX-License-Identifier: Apache-2.0
"""Readers of .tflite functions of one value.

Each becomes a table of 256 codes, made as LiteRT computes the function: from float32 (sigmoid,
tanh) or in fixed point (the others).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import frexp

import numpy as np

from ..ops.lookup import Lookup
from ..requant import Int64
from ..tflite_rule import divide_power, quantize_multiplier
from ..tflite_rule import scale as rescale
from ..types import IntType
from .tflite import INT8, INT16, Builder, Unreadable
from .tflite_constants import activation_limits
from .tflite_file import TfOperator
from .tflite_wide import add_scaling

CODES = np.arange(-128, 128, dtype=np.int64)
SHORT = 1 << 15
RELUS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
"""Number of the activation each operator is."""


@dataclass(frozen=True)
class Grids:
    """Both grids of a function: float32 scales, and the zero point of the result."""

    first: np.float32
    last: np.float32
    zero: int


Codes = Callable[[Grids, Int64], Int64]
"""Output codes (not clamped) of inputs that are given less their zero point."""


def _grids(b: Builder, op: TfOperator) -> Grids:
    _, out_scale, zero = b.grid(b.tensor(op.outputs[0]))
    return Grids(np.float32(b.source(op).output.scale), np.float32(out_scale), zero)


def _add(b: Builder, op: TfOperator, entries: Int64) -> None:
    """The table of a function, ``entries`` for all codes from -128 on."""
    source = b.source(op)
    type_, _, _ = b.grid(b.tensor(op.outputs[0]))
    if (source.output.type, type_) != (INT8, INT8):
        raise Unreadable(
            f"{source.output.type} input and {type_} output; int8 is supported; requantise it"
        )
    table = np.clip(np.atleast_2d(entries), type_.lo, type_.hi).astype(np.int64)
    b.add(op, Lookup(table, type_), (source,))


def _reader(codes: Codes) -> Callable[[Builder, TfOperator], None]:
    def read(b: Builder, op: TfOperator) -> None:
        if b.source(op).output.type == INT16 and op.name in RELUS:
            tensor = b.tensor(op.outputs[0])
            add_scaling(b, op, b.limits(RELUS[op.name], tensor))
            return
        _add(b, op, codes(_grids(b, op), CODES - b.source(op).output.zero))

    return read


def _real(function: Callable[[np.ndarray], np.ndarray]) -> Codes:
    def codes(g: Grids, x: Int64) -> Int64:
        value = function(g.first * x.astype(np.float32)).astype(np.float32)
        scaled = value * (np.float32(1) / g.last)
        away = np.floor(np.abs(scaled).astype(np.float64) + 0.5) * np.sign(scaled)
        result: Int64 = away.astype(np.int64) + g.zero
        return result

    return codes


def _ratio(g: Grids) -> tuple[int, int]:
    return quantize_multiplier(float(np.float64(g.first) / np.float64(g.last)))


def regrid(g: Grids, x: Int64) -> Int64:
    """QUANTIZE between two grids."""
    return rescale(x, *_ratio(g), "double") + g.zero


def _relu(activation: int) -> Codes:
    def codes(g: Grids, x: Int64) -> Int64:
        limits = activation_limits(activation, IntType(8, True), float(g.last), g.zero)
        return np.clip(regrid(g, x), *limits)

    return codes


def leaky(g: Grids, x: Int64, slope: float) -> Int64:
    """LEAKY_RELU."""
    alpha = np.float32(slope)
    m, shift = quantize_multiplier(abs(float(np.float64(g.first * alpha) / np.float64(g.last))))
    below = rescale(x, m if alpha >= 0 else -m, shift, "double")
    return np.where(x >= 0, rescale(x, *_ratio(g), "double"), below) + g.zero


def _read_leaky(b: Builder, op: TfOperator) -> None:
    slope = op.options.real(0) if op.options is not None else 0.0
    _add(b, op, leaky(_grids(b, op), CODES - b.source(op).output.zero, slope))


def _read_prelu(b: Builder, op: TfOperator) -> None:
    g, source = _grids(b, op), b.source(op)
    alpha, x = b.constant(op, 1), CODES - source.output.zero
    channels = source.output.shape[-1]
    if alpha.type != "int8" or alpha.data is None or alpha.data.size not in (1, channels):
        raise Unreadable(
            f"{alpha.type} slopes of shape {alpha.shape}; int8, one or one per channel, are"
            " supported"
        )
    slopes = alpha.data.reshape(-1, 1).astype(np.int64) - int(alpha.zero[0])
    m, shift = quantize_multiplier(
        float(np.float64(g.first * alpha.scale[0]) / np.float64(g.last))
    )
    below = rescale(slopes * x, m, shift, "double")
    _add(b, op, np.where(x >= 0, rescale(x, *_ratio(g), "double"), below) + g.zero)


def _short(factor: float) -> tuple[int, int]:
    """(16-bit multiplier, exponent) of a factor."""
    m, _ = quantize_multiplier(factor)
    return min((m + SHORT) >> 16, SHORT - 1), frexp(factor)[1]


def _short_product(x: Int64, m: int) -> Int64:
    """Rounded upper half of the doubled product of 16-bit numbers."""
    result: Int64 = (x * m + (1 << 14)) >> 15
    return result


def _hard_swish(g: Grids, x: Int64) -> Int64:
    fine = np.float32(1 / 128) * g.first
    wide = x << 7
    m_out, e_out = _short(float(fine / g.last))
    m_gate, e_gate = _short(float(fine / np.float32(3 / 32768)))
    gate = wide
    if e_gate > 0:
        gate = np.clip(gate << (e_gate - 1), -SHORT, SHORT - 1)
    gate = _short_product(gate, m_gate)
    if e_gate > 0:
        gate = np.clip(gate << 1, -SHORT, SHORT - 1)
    elif e_gate < 0:
        gate = divide_power(gate, -e_gate)
    gate = (gate + SHORT) >> 1
    product = gate * _short_product(wide, m_out)
    return divide_power(np.sign(product) * (np.abs(product) >> 15), max(-e_out, 0)) + g.zero


PLAIN: dict[str, Codes] = {
    "HARD_SWISH": _hard_swish,
    "LOGISTIC": _real(lambda v: 1 / (1 + np.exp(-v))),
    "RELU": _relu(1),
    "RELU6": _relu(3),
    "RELU_N1_TO_1": _relu(2),
    "TANH": _real(np.tanh),
}
"""Functions without constants of their own, by their name in the schema."""
FUNCTIONS: dict[str, Callable[[Builder, TfOperator], None]] = {
    **{name: _reader(codes) for name, codes in PLAIN.items()},
    "LEAKY_RELU": _read_leaky,
    "PRELU": _read_prelu,
}
"""How each operator is read, by its name in the schema."""
