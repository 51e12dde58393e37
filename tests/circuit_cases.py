# SPDX-License-Identifier: Apache-2.0
"""What tests of circuits share: random foldings, and the mark of those that need a simulator."""

from __future__ import annotations

import numpy as np
import pytest

from adaqat.deploy.errors import UnsupportedError
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.tools import missing

simulator = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def random_folds(net, seed: int) -> dict[str, Fold]:
    """Any folding, divisors or not; what a node cannot take becomes one at a time."""
    rng = np.random.default_rng(seed)
    folds = {}
    for node in net.nodes:
        if node.op.kind in ("input", "reshape"):
            continue
        most_pe, most_simd = node.op.fold_limits(net.inputs_of(node), node.output)
        for _ in range(40):
            fold = Fold(
                int(rng.integers(1, most_pe + 1)), int(rng.integers(1, most_simd + 1)),
                bool(rng.integers(0, 2)),
            )  # fmt: skip
            try:
                node.op.rtl_plan(net.inputs_of(node), node.output, fold)
            except UnsupportedError:
                continue
            folds[node.name] = fold
            break
    return folds
