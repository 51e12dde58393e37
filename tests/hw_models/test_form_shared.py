# SPDX-License-Identifier: Apache-2.0
"""Functions that all nodes of a form call count once in a network, not once a node."""

from __future__ import annotations

from adaqat.deploy.row_fit import Sample, fit_row
from adaqat.hw_models import HwModel, load
from adaqat.hw_models.work import Work

SIZES = {"looped": {"driver": 300, "tile": 600}, "direct": {"short": 200, "tile": 600}}


def sample(form, count, own):
    work = Work("conv2d", 8, 8, False, {"step": count}, const_bytes=0, macs=count, form=form)
    return Sample(work, 10 * count, 12.0 * count, 40, {**SIZES[form], **own}, 0)


def test_functions_of_a_form_count_once():
    samples = [sample("looped", 5, {"odd": 90}), sample("looped", 9, {}), sample("direct", 3, {}),
               sample("direct", 4, {})]  # fmt: skip
    row = fit_row("conv2d", 8, (8,), False, samples)
    assert row.shared == {"tile": 600}
    assert row.form_shared == {"looped": {"driver": 300}, "direct": {"short": 200}}
    # the upper quartile of 40 and 40 + 90
    assert row.code_bytes == {"looped": 108, "direct": 40}
    table = load("cortex-m55").table
    model = HwModel(table.model_copy(update={"row": (row,), "run_bytes": (0, 0)}), "")
    costs = [model.node_cost(s.work) for s in samples]
    assert model.code_bytes(costs) == 2 * 108 + 2 * 40 + 600 + 300 + 200
    # negative control: a form with one node cannot tell what is shared
    alone = fit_row("conv2d", 8, (8,), False, [samples[0], samples[2]])
    assert alone.form_shared == {} and alone.code_bytes["looped"] == 40 + 300 + 90
