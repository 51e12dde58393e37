# SPDX-License-Identifier: Apache-2.0
"""Shared functions are named by what they do: different ones never share a name."""

from __future__ import annotations

import itertools

import pytest
from dsp_nets import NETS as DSP_NETS
from mve_nets import NETS as MVE_NETS

from adaqat.deploy.emit import layout
from adaqat.deploy.targets import get


@pytest.mark.parametrize(("target", "nets"), [("cortex-m4", DSP_NETS), ("cortex-m55", MVE_NETS)])
def test_different_functions_have_different_names(target, nets):
    known: dict[str, str] = {}
    for make, (weight_bits, act_bits) in itertools.product(
        nets, itertools.product((1, 2, 3, 5, 8), (1, 2, 4, 6, 8))
    ):
        model = layout(make(weight_bits, act_bits, signed=weight_bits % 2 == 0), get(target), "net")
        for emitted in model.nodes:
            for template, values in emitted.plan.helpers:
                named = dict(values).get("v")
                if isinstance(named, dict) and "tag" in named:
                    what = f"{template} {sorted((k, v) for k, v in named.items())!r}"
                    assert known.setdefault(named["tag"], what) == what
    assert len(known) > 300
