# SPDX-License-Identifier: Apache-2.0
"""Readers of .tflite functions of one value.

Each becomes a table of 256 codes, made as LiteRT computes the function: from float32 (sigmoid,
tanh) or in fixed point (the others).
"""

from __future__ import annotations

from collections.abc import Callable
from math import frexp

import numpy as np

from ..ops.lookup import Lookup
from ..requant import Int64
from ..tflite_rule import divide_power, quantize_multiplier
from ..tflite_rule import scale as rescale
from .tflite import Builder, Unreadable
from .tflite_file import TfOperator

Codes = Callable[[Builder, TfOperator, Int64], Int64]
"""Output codes (not clamped) of all inputs, given less their zero point."""
CODES = np.arange(-128, 128, dtype=np.int64)
SHORT = 1 << 15


def _reader(codes: Codes) -> Callable[[Builder, TfOperator], None]:
    def read(b: Builder, op: TfOperator) -> None:
        source = b.source(op)
        type_, _, _ = b.grid(b.tensor(op.outputs[0]))
        if source.output.type != type_:
            raise Unreadable(f"{source.output.type} input; int8 is supported; requantise it")
        entries = np.atleast_2d(codes(b, op, CODES - source.output.zero))
        table = np.clip(entries, type_.lo, type_.hi).astype(np.int64)
        b.add(op, Lookup(table, type_), (source,))

    return read


def _grids(b: Builder, op: TfOperator) -> tuple[np.float32, np.float32, int]:
    """(input scale, output scale, output zero point)."""
    _, out_scale, zero = b.grid(b.tensor(op.outputs[0]))
    return np.float32(b.source(op).output.scale), np.float32(out_scale), zero


def _real(function: Callable[[np.ndarray], np.ndarray]) -> Codes:
    def codes(b: Builder, op: TfOperator, x: Int64) -> Int64:
        first, last, zero = _grids(b, op)
        value = function(first * x.astype(np.float32)).astype(np.float32)
        scaled = value * (np.float32(1) / last)
        away = np.floor(np.abs(scaled).astype(np.float64) + 0.5) * np.sign(scaled)
        result: Int64 = away.astype(np.int64) + zero
        return result

    return codes


def _ratio(first: np.float32, last: np.float32, factor: float = 1.0) -> tuple[int, int]:
    return quantize_multiplier(float(np.float64(first) * factor / np.float64(last)))


def _relu(activation: int) -> Codes:
    def codes(b: Builder, op: TfOperator, x: Int64) -> Int64:
        first, last, zero = _grids(b, op)
        low, high = b.limits(activation, b.tensor(op.outputs[0]))
        return np.clip(rescale(x, *_ratio(first, last), "double") + zero, low, high)

    return codes


def _leaky(b: Builder, op: TfOperator, x: Int64) -> Int64:
    first, last, zero = _grids(b, op)
    alpha = np.float32(op.options.real(0)) if op.options is not None else np.float32(0)
    m, shift = quantize_multiplier(abs(float(np.float64(first * alpha) / np.float64(last))))
    below = rescale(x, m if alpha >= 0 else -m, shift, "double")
    return np.where(x >= 0, rescale(x, *_ratio(first, last), "double"), below) + zero


def _prelu(b: Builder, op: TfOperator, x: Int64) -> Int64:
    first, last, zero = _grids(b, op)
    alpha = b.constant(op, 1)
    channels = b.source(op).output.shape[-1]
    if alpha.type != "int8" or alpha.data is None or alpha.data.size not in (1, channels):
        raise Unreadable(
            f"{alpha.type} slopes of shape {alpha.shape}; int8, one or one per channel, are"
            " supported"
        )
    slopes = alpha.data.reshape(-1, 1).astype(np.int64) - int(alpha.zero[0])
    m, shift = quantize_multiplier(float(np.float64(first * alpha.scale[0]) / np.float64(last)))
    below = rescale(slopes * x, m, shift, "double")
    return np.where(x >= 0, rescale(x, *_ratio(first, last), "double"), below) + zero


def _short(factor: float) -> tuple[int, int]:
    """(16-bit multiplier, exponent) of a factor."""
    m, _ = quantize_multiplier(factor)
    return min((m + SHORT) >> 16, SHORT - 1), frexp(factor)[1]


def _short_product(x: Int64, m: int) -> Int64:
    """Rounded upper half of the doubled product of 16-bit numbers."""
    result: Int64 = (x * m + (1 << 14)) >> 15
    return result


def _hard_swish(b: Builder, op: TfOperator, x: Int64) -> Int64:
    first, last, zero = _grids(b, op)
    fine = np.float32(1 / 128) * first
    wide = x << 7
    m_out, e_out = _short(float(fine / last))
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
    return divide_power(np.sign(product) * (np.abs(product) >> 15), max(-e_out, 0)) + zero


FUNCTIONS: dict[str, Callable[[Builder, TfOperator], None]] = {
    "HARD_SWISH": _reader(_hard_swish),
    "LEAKY_RELU": _reader(_leaky),
    "LOGISTIC": _reader(_real(lambda v: 1 / (1 + np.exp(-v)))),
    "PRELU": _reader(_prelu),
    "RELU": _reader(_relu(1)),
    "RELU6": _reader(_relu(3)),
    "RELU_N1_TO_1": _reader(_relu(2)),
    "TANH": _reader(_real(np.tanh)),
}
"""How each operator is read, by its name in the schema."""
