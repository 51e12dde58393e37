# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, check, simulate
from adaqat.deploy.graph import Graph
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.tflite_weighted import TfliteConv2d, TfliteDepthwiseConv2d, TfliteLinear
from adaqat.deploy.tflite_rule import TfliteRequant, divide_power, quantize_multiplier, scale
from adaqat.deploy.vectors import make_inputs

S8 = IntType(8, True)


def slow_scale(x: int, m: int, shift: int, rounding: str) -> int:
    """From the definition, in unbounded integers."""
    if rounding == "short":
        return (x * min((m + 2**15) // 2**16, 2**15 - 1) + 2 ** (14 - shift)) // 2 ** (15 - shift)
    if rounding in ("single", "long"):
        return (x * m + 2 ** (30 - shift)) // 2 ** (31 - shift)
    high = (x * 2 ** max(shift, 0) * m + 2**30) // 2**31
    divisor = 2 ** max(-shift, 0)
    sign = -1 if high < 0 else 1
    return sign * ((abs(high) + divisor // 2) // divisor)


@pytest.mark.parametrize("rounding", ["double", "single", "short", "long"])
def test_scale_equals_unbounded_integers(rounding):
    rng = np.random.default_rng(1)
    top = 2**22 if rounding in ("double", "single") else 2**47 - 1
    for shift in range(-31, 8):
        x = rng.integers(-top, top, 400)
        x[:8] = [0, 1, -1, top, -top, 3, -3, 2]
        m = rng.integers(2**30, 2**31, 400)
        m[:4] = [2**30, 2**31 - 1, 2**30, 2**31 - 1]
        got = scale(x, m, np.int64(shift), rounding)
        wanted = [slow_scale(int(a), int(b), shift, rounding) for a, b in zip(x, m, strict=True)]
        assert got.tolist() == wanted


def test_division_ties_go_away_from_zero():
    x = np.array([-6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6])
    assert divide_power(x, 2).tolist() == [-2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2]
    assert divide_power(x, 0).tolist() == x.tolist()


@pytest.mark.parametrize("factor", [0.0, 1e-12, 0.003, 0.5, 0.999999999999, 1.0, 37.2])
def test_multipliers_are_the_nearest(factor):
    m, shift = quantize_multiplier(factor)
    assert m == 0 or 2**30 <= m < 2**31
    assert abs(m * 2.0 ** (shift - 31) - factor) <= max(factor * 2.0**-31, 2.0**-32)


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("kind", ["tflite_conv2d", "tflite_depthwise_conv2d", "tflite_linear"])
def test_sums_then_the_rule(kind, rounding):
    make = MoreMaker(3, 8)
    x = input_node((4,) if kind == "tflite_linear" else (4, 5, 4), S8, 7)
    window = Window((2, 3), (1, 2), (1, 1), (1, 1, 0, 1))
    if kind == "tflite_linear":
        weights = make.weights((6, 4))
        op = TfliteLinear(weights, make.tflite_rule(weights, x, rounding), S8)
    elif kind == "tflite_conv2d":
        weights = make.weights((6, 2, 3, 2))
        op = TfliteConv2d(weights, make.tflite_rule(weights, x, rounding), S8, window, 2, 7)
    else:
        weights = make.weights((8, 2, 3, 1))
        op = TfliteDepthwiseConv2d(weights, make.tflite_rule(weights, x, rounding), S8, window, 7)
    net = graph(x, Node.make("y", op, (x,), zero=-3))
    codes = make_inputs(net, samples=8)
    result, values, rule = simulate(net, codes), weights.values, op.requant
    for index in np.ndindex(*result.shape):
        n, o = index[0], index[-1]
        acc = int(rule.bias[o])
        if kind == "tflite_linear":
            acc += sum(int(w) * int(a) for w, a in zip(values[o], codes[n], strict=True))
        else:
            depth = values.shape[3]
            start = o // 3 * 2 if kind == "tflite_conv2d" else o // 2
            for ky, kx, c in np.ndindex(2, 3, depth):
                y, z = index[1] + ky - 1, index[2] * 2 + kx - 1
                inside = 0 <= y < 4 and 0 <= z < 5
                a = int(codes[n, y, z, start + c]) if inside else 7
                acc += int(values[o, ky, kx, c]) * a
        y = slow_scale(acc, int(rule.m[o]), int(rule.shift[o]), rounding) + rule.z
        assert result[index] == max(rule.lo, min(rule.hi, y))


def test_broken_rules_are_refused():
    make = MoreMaker(3, 8)
    x = input_node((4,), S8)
    weights = make.weights((2, 4))
    rule = TfliteRequant(np.zeros(2, np.int64), np.array([2**31, 5]), np.array([0, 31]), 0, 5, -5,
                         "banker")  # fmt: skip
    node = Node.make("y", TfliteLinear(weights, rule, S8), (x,))
    with pytest.raises(UnsupportedError) as caught:
        check(Graph("g", (x, node), "y"))
    text = str(caught.value)
    for part in ("rounding 'banker'", "empty output range", "a multiplier outside", "a shift"):
        assert part in text
    with pytest.raises(UnsupportedError, match="2 requantisation constants for 3 channels"):
        Node.make("y", TfliteLinear(make.weights((3, 4)), rule, S8), (x,))
