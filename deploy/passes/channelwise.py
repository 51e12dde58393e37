# SPDX-License-Identifier: Apache-2.0
"""Operators that keep channels apart: what they make of a constant one, and how to drop some."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ops.base import Op
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.lookup import Lookup
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.requantize import Requantize
from ..ops.tflite_avgpool2d import TfliteAvgPool2d
from ..ops.tflite_weighted import TfliteDepthwiseConv2d
from ..ops.weighted import Weights
from ..requant import Requant
from ..tflite_rule import TfliteRequant

DEPTHWISE = (DepthwiseConv2d, TfliteDepthwiseConv2d)
CHANNELWISE = (*DEPTHWISE, MaxPool2d, AvgPool2d, TfliteAvgPool2d, Lookup, Requantize)


def constant_result(op: Op, channel: int, code: int, lowest: int) -> int | None:
    """The code a constant channel becomes; None where it is not constant any more.

    Args:
        op: one of `CHANNELWISE`, without a channel multiplier.
        channel: its number.
        code: its constant code before the operator.
        lowest: smallest code of the operator's input type.
    """
    if isinstance(op, MaxPool2d):
        return code
    if isinstance(op, TfliteAvgPool2d):
        return min(max(code, op.lo), op.hi)
    if isinstance(op, Lookup):
        return int(op.table[channel if len(op.table) > 1 else 0, code - lowest])
    if isinstance(op, Requantize):
        return int(_at(op.requant, channel).apply(np.array([code]))[0])
    assert isinstance(op, (*DEPTHWISE, AvgPool2d))
    if any(op.window.pad) and code != op.pad_value:
        return None
    if isinstance(op, AvgPool2d):
        count = op.window.kernel[0] * op.window.kernel[1]
        return int(op.requant.apply(np.array([code * count]))[0])
    total = int(op.weights.values[channel].sum()) * code
    return int(_at(op.requant, channel).apply(np.array([total]))[0])


def keep_channels(op: Op, keep: NDArray[np.int64]) -> Op:
    """The operator for the channels ``keep`` alone."""
    changes: dict[str, Any] = {}
    weights = getattr(op, "weights", None)
    if weights is not None:
        codes = np.ascontiguousarray(weights.codes[keep])
        changes["weights"] = Weights(codes, weights.bits, weights.step, weights.offset)
    rule = getattr(op, "requant", None)
    if rule is not None and not isinstance(op, AvgPool2d):
        changes["requant"] = _at(rule, keep)
    if isinstance(op, Lookup) and len(op.table) > 1:
        changes["table"] = np.ascontiguousarray(op.table[keep])
    return replace(op, **changes) if changes else op  # type: ignore[type-var]


def _at(rule: Any, channels: int | NDArray[np.int64]) -> Any:
    """A rule for some channels."""
    index = np.atleast_1d(channels)
    names = ("bias", "m", "s", "z") if isinstance(rule, Requant) else ("bias", "m", "shift")
    assert isinstance(rule, Requant | TfliteRequant)
    return replace(rule, **{name: getattr(rule, name)[index] for name in names})
