# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from nets import every_operator

from adaqat.deploy import check, simulate
from adaqat.deploy.ops.weighted import WeightedOp
from adaqat.deploy.passes import PIPELINE, run_passes
from adaqat.deploy.passes.positive_multipliers import positive_multipliers
from adaqat.deploy.vectors import make_inputs


def negative_channels(net):
    return sum(int((n.op.requant.m < 0).sum()) for n in net.nodes if isinstance(n.op, WeightedOp))


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_integer_stays(bits):
    before = every_operator(bits, 5, signed=True, seed=bits)
    after = check(positive_multipliers(before))
    assert negative_channels(before) > negative_channels(after)
    codes = make_inputs(before, samples=20)
    kept, again = (simulate(net, codes, keep=True) for net in (before, after))
    for name, values in kept.items():
        assert np.array_equal(values, again[name]), name
    assert positive_multipliers(after).model_id == after.model_id


def test_zero_free_grids_become_entirely_positive():
    net = positive_multipliers(every_operator(1, 5, signed=False))
    assert negative_channels(net) == 0


def test_most_negative_weight_keeps_its_channel():
    # both end codes in every channel: -2^(b-1) has no negative in b bits
    net = every_operator(4, 5, signed=False, extreme=True)
    after = check(positive_multipliers(net))
    symmetric = [
        n.op for n in after.nodes if isinstance(n.op, WeightedOp) and n.op.weights.step == 1
    ]
    assert any((op.requant.m < 0).any() for op in symmetric)


def test_pipeline_writes_every_step(tmp_path):
    net = run_passes(every_operator(4, 5, signed=False), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "00_lower.txt" and len(names) == 1 + len(PIPELINE)
    assert (tmp_path / names[-1]).read_text() == net.dump()
