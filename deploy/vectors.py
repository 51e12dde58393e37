# SPDX-License-Identifier: Apache-2.0
"""Input vectors for verification when the user brings none: extremes first, then seeded random."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from .errors import UsageError
from .graph import Graph
from .types import IntArray

SHIPPED_TEST = "models/digits_test.npz"
"""Test split of the shipped model: ``codes`` [N, H, W, C] and ``labels`` [N]."""


def make_inputs(graph: Graph, samples: int, seed: int = 0) -> IntArray:
    """Input codes ``[samples, *input shape]``; the same arguments give the same codes.

    The first rows drive every accumulator to its ends: all smallest, all largest, all zero point,
    smallest and largest alternating from element to element, and the same the other way round. The
    rest is uniform over the whole range of codes.

    Raises:
        UsageError: fewer than one sample.
    """
    if samples < 1:
        raise UsageError(f"samples: {samples} found; 1 or more are needed; raise --samples")
    info = graph.input_node.output
    lo, hi = info.type.lo, info.type.hi
    odd = (np.arange(info.size) % 2).reshape(info.shape)
    extremes = [
        np.full(info.shape, lo),
        np.full(info.shape, hi),
        np.full(info.shape, min(max(info.zero, lo), hi)),
        np.where(odd == 1, hi, lo),
        np.where(odd == 1, lo, hi),
    ]
    random = np.random.default_rng(seed).integers(
        lo, hi, size=(max(0, samples - len(extremes)), *info.shape), endpoint=True
    )
    codes = np.concatenate([np.stack(extremes), random])[:samples]
    return codes.astype(info.type.dtype)


def shipped_test_split() -> tuple[IntArray, IntArray]:
    """(codes, labels) of the whole test split of the digits model that ships with the package.

    Raises:
        UsageError: this build holds no such file.
    """
    source = files(__package__).joinpath(SHIPPED_TEST)
    if not source.is_file():
        raise UsageError(
            f"{SHIPPED_TEST}: not part of this build; released packages hold it; install one, or"
            " give a model of your own"
        )
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return arrays["codes"], arrays["labels"]
