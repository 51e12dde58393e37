# SPDX-License-Identifier: Apache-2.0
"""Input codes for verification: extremes first, then seeded random ones."""

from __future__ import annotations

import numpy as np

from .graph import Graph
from .types import IntArray


def make_inputs(graph: Graph, *, samples: int, seed: int = 0, extremes: bool = True) -> IntArray:
    """Codes ``[samples, *input shape]``; the same arguments give the same codes.

    With ``extremes`` the first samples are all-lowest, all-highest, all-zero-point, lowest and
    highest alternating along the innermost axis, and random choices of the two ends; the rest is
    uniform over the input's range.
    """
    info = graph.input_node.output
    low, high, shape = info.type.lo, info.type.hi, info.shape
    rng = np.random.default_rng(seed)
    random = rng.integers(low, high + 1, (samples, *shape))
    if extremes:
        flat = np.arange(info.size).reshape(shape)
        ends = rng.integers(0, 2, (2, *shape)) * (high - low) + low
        patterns = [
            np.full(shape, low),
            np.full(shape, high),
            np.full(shape, np.clip(info.zero, low, high)),
            np.where(flat % 2 == 0, low, high),
            np.where(flat % 2 == 0, high, low),
            *ends,
        ]
        for index, pattern in enumerate(patterns[:samples]):
            random[index] = pattern
    return random.astype(info.type.dtype)
