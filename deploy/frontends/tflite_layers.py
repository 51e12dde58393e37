# SPDX-License-Identifier: Apache-2.0
"""From a layer's integer rule to the int8 weights, float32 scales and int32 bias of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedError
from ..ops.base import TensorInfo
from ..ops.weighted import accumulator_bounds
from ..requant import Float64, Int64, Requant
from ..tflite_rule import INT32, TfliteRequant, quantize_multiplier, quantize_multipliers
from ..tflite_rule import scale as rescale
from .tflite_constants import layer_factors

SAMPLES = 2048
"""Accumulators per channel on which biases are tried."""
MOVES = (0, 1, -1, 2, -2)
FINE = 2.0**-8
"""Output codes per accumulator unit of a constant channel."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What the file holds of a layer: ``values`` [C, ...], one bias and one or C scales."""

    values: NDArray[np.int8]
    bias: Int64
    scale: NDArray[np.float32]

    def bias_scale(self, source: TensorInfo) -> NDArray[np.float32]:
        """Scale of the bias, the product that LiteRT expects."""
        return np.float32(source.scale) * self.scale


def exact_layer(
    values: Int64, rule: TfliteRequant, source: TensorInfo, output: TensorInfo, *, linear: bool
) -> Layer:
    """The layer whose integers LiteRT derives to be exactly those of ``rule``.

    Raises:
        UnsupportedError: values outside int8, or constants that follow from no float32 scale.
    """
    _check_range(values)
    pair = ("single", "double") if not source.wide else ("long", "short")
    wanted = pair[0] if linear else pair[1]
    if rule.rounding != wanted or rule.z != output.zero:
        raise UnsupportedError(
            [f"{rule.rounding} rounding and zero point {rule.z}; {wanted} rounding and the"
             f" tensor's zero point {output.zero} are supported; import the model again"]
        )  # fmt: skip
    count = len(values)
    bias = rule.bias + source.zero * values.reshape(count, -1).sum(axis=1)
    pairs = [(int(m), int(s)) for m, s in zip(rule.m, rule.shift, strict=True)]
    scales: list[np.float32 | None] = []
    if linear and len(set(pairs)) == 1:
        scales = [_scale_for(pairs[0], source, output, linear=True)]
    if not scales or scales[0] is None:
        scales = [_scale_for(pair, source, output, linear=False) for pair in pairs]
    found = [scale for scale in scales if scale is not None]
    large = not source.wide and np.abs(bias).max(initial=0) >= INT32
    if len(found) < len(scales) or large:
        raise UnsupportedError(
            [f"constants of {len(scales) - len(found)} channels that no float32 scale of the"
             " weights gives; those of an imported .tflite file are supported; import it with"
             " native rounding"]
        )  # fmt: skip
    return Layer(values.astype(np.int8), bias, np.array(found, np.float32))


def _scale_for(
    pair: tuple[int, int], source: TensorInfo, output: TensorInfo, *, linear: bool
) -> np.float32 | None:
    """The float32 weight scale nearest to the factor that LiteRT turns into (m, shift)."""
    factor = np.ldexp(float(pair[0]), pair[1] - 31)
    first = np.float32(factor * output.scale / source.scale)
    tried = [first]
    for toward in (np.float32(0), np.float32(np.inf)):
        scale = first
        for _ in range(4):
            scale = np.nextafter(scale, toward)
            tried.append(scale)
    for scale in tried:
        one = layer_factors(source.scale, np.array([scale]), output.scale, 1, linear=linear)
        if quantize_multiplier(float(one[0])) == pair:
            return scale
    return None


def native_layer(
    values: Int64, rule: Requant, source: TensorInfo, output: TensorInfo, *, linear: bool = False
) -> Layer:
    """The layer that comes nearest to a rule of this project.

    A negative multiplier becomes negated weights, a weight of 128 among them 127. Weights are
    multiplied by the largest power of two that int8 and the accumulator allow: the
    accumulator becomes finer, and with it the bias and the first of LiteRT's two roundings. Of the
    five nearest biases per channel the one with the fewest differing codes is taken, on
    accumulators spread over the range that is not saturated.

    Args:
        values: ``[C, ...]`` weights.
        rule: one set of constants per channel.
        source: the input.
        output: the result.
        linear: whether the file's operator is a fully connected layer, which rounds once.

    Raises:
        UnsupportedError: weights outside int8.
    """
    if source.wide or output.wide:
        raise UnsupportedError(
            ["16-bit activations with this project's rounding; those with TFLite's are supported;"
             " import the model with tflite rounding"]
        )  # fmt: skip
    count = len(values)
    live = rule.m != 0
    _check_range(values[live])
    # a negated -128 has no code
    rows = np.minimum(values.reshape(count, -1) * np.sign(rule.m)[:, None], 127)
    low, high = accumulator_bounds(rows, source.type)
    sums = source.zero * rows.sum(axis=1)
    m, sign = np.abs(rule.m).astype(np.float64), np.where(rule.m < 0, -1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.ldexp((rule.z - output.zero).astype(np.float64), rule.s) / m
        units = np.ldexp(rule.bias * sign + moved, -rule.p)
        factor = np.ldexp(m, rule.p - rule.s)
    factor = np.where(live, factor, FINE)
    aim = np.clip(rule.z, rule.lo, rule.hi) - output.zero
    units = np.where(live, units, aim / FINE)
    k = np.where(live, _room(rows, low, high, units, sums), 0)
    scale = (np.ldexp(factor, -k) * output.scale / source.scale).astype(np.float32)
    base = np.floor(np.ldexp(units, k) + 0.5).astype(np.int64)
    base = np.clip(base, -INT32 + 2, INT32 - 2)
    factors = layer_factors(source.scale, scale, output.scale, count, linear=False)
    fine = rows << k[:, None]
    rounding = "single" if linear else "double"
    bias = _best_bias(rule, output.zero, (low, high), k, base, factors, rounding)
    return Layer(fine.reshape(values.shape).astype(np.int8), bias + (sums << k), scale)


def _room(rows: Int64, low: Int64, high: Int64, units: Float64, sums: Int64) -> Int64:
    """Largest left shift per channel that keeps weights in int8 and sums in int32."""
    k = np.zeros(len(rows), np.int64)
    for _ in range(7):
        top, bottom = rows.max(axis=1) << (k + 1), rows.min(axis=1) << (k + 1)
        reach = np.maximum(np.abs(low), np.abs(high)) + np.abs(sums) + np.abs(units) + 1
        fits = (top <= 127) & (bottom >= -128) & (np.ldexp(reach, k + 1) < INT32 / 2)
        k = k + fits
    return k


def _best_bias(
    rule: Requant, zero: int, ends: tuple[Int64, Int64], k: Int64, base: Int64, factors: Float64,
    rounding: str,
) -> Int64:  # fmt: skip
    """Per channel the bias near ``base`` with the fewest differences."""
    m, shift = quantize_multipliers(factors)
    span = np.stack([(edge - zero) / np.ldexp(factors, k) - np.ldexp(base.astype(np.float64), -k)
                     for edge in (rule.lo - 1, rule.hi + 1)])  # fmt: skip
    low, high = (np.clip(edge, *ends) for edge in span)
    steps = np.linspace(0, 1, SAMPLES)[:, None]
    acc = np.floor(low + steps * (high - low) + 0.5).astype(np.int64)
    wanted = rule.apply(acc * np.where(rule.m < 0, -1, 1))
    counts = []
    for move in MOVES:
        y = rescale((acc << k) + base + move, m, shift, rounding) + zero
        counts.append((np.clip(y, rule.lo, rule.hi) != wanted).sum(axis=0))
    choice = np.argmin(np.stack(counts), axis=0)
    return base + np.where(rule.m == 0, 0, np.array(MOVES)[choice])


def _check_range(values: Int64) -> None:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < -128 or high > 127:
        raise UnsupportedError(
            [f"weights from {low} to {high}; -128 to 127 are supported; train with at most 7 bits"
             " or a symmetric grid"]
        )  # fmt: skip
