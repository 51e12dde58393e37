# SPDX-License-Identifier: Apache-2.0
"""The operators once more, as slow loops over Python integers, written from their definitions."""

from __future__ import annotations

import numpy as np


def requant(acc: int, rule, channel: int) -> int:
    """docs/decisions/0001-requantisation.md, in unbounded integers."""
    t = acc * 2**rule.p + int(rule.bias[channel])
    y = (t * int(rule.m[channel]) + 2 ** (int(rule.s[channel]) - 1)) // 2 ** int(rule.s[channel])
    return max(rule.lo, min(rule.hi, y + int(rule.z[channel])))


def convolution(x, op, groups: int) -> np.ndarray:
    """Conv2d and DepthwiseConv2d (groups = input channels): seven nested loops."""
    samples, height, width, channels = x.shape
    rows, columns = op.window.out_hw((height, width))
    w = op.weights
    outputs = w.codes.shape[0]
    depth = channels // groups
    result = np.zeros((samples, rows, columns, outputs), np.int64)
    top, left = op.window.pad[:2]
    for n, oy, ox, o in np.ndindex(samples, rows, columns, outputs):
        group = o // (outputs // groups)
        acc = 0
        for ky, kx, c in np.ndindex(*op.window.kernel, depth):
            y = oy * op.window.stride[0] + ky * op.window.dilation[0] - top
            xx = ox * op.window.stride[1] + kx * op.window.dilation[1] - left
            inside = 0 <= y < height and 0 <= xx < width
            value = int(x[n, y, xx, group * depth + c]) if inside else op.pad_value
            acc += (w.step * int(w.codes[o, ky, kx, c]) + w.offset) * value
        result[n, oy, ox, o] = requant(acc, op.requant, o)
    return result


def linear(x, op) -> np.ndarray:
    w = op.weights
    result = np.zeros((len(x), w.codes.shape[0]), np.int64)
    for n, o in np.ndindex(*result.shape):
        acc = sum(
            (w.step * int(q) + w.offset) * int(a) for q, a in zip(w.codes[o], x[n], strict=True)
        )
        result[n, o] = requant(acc, op.requant, o)
    return result


def pool(x, op, combine) -> np.ndarray:
    """``combine(list of values inside, count outside) -> int``."""
    samples, height, width, channels = x.shape
    rows, columns = op.window.out_hw((height, width))
    result = np.zeros((samples, rows, columns, channels), np.int64)
    for n, oy, ox, c in np.ndindex(*result.shape):
        inside, outside = [], 0
        for ky, kx in np.ndindex(*op.window.kernel):
            y = oy * op.window.stride[0] + ky - op.window.pad[0]
            xx = ox * op.window.stride[1] + kx - op.window.pad[1]
            if 0 <= y < height and 0 <= xx < width:
                inside.append(int(x[n, y, xx, c]))
            else:
                outside += 1
        result[n, oy, ox, c] = combine(inside, outside)
    return result


def add(inputs, rule) -> np.ndarray:
    result = np.zeros(inputs[0].shape, np.int64)
    for index in np.ndindex(*result.shape):
        total = rule.bias + sum(m * int(x[index]) for m, x in zip(rule.m, inputs, strict=True))
        y = (total + 2 ** (rule.s - 1)) // 2**rule.s + rule.z
        result[index] = max(rule.lo, min(rule.hi, y))
    return result
