# SPDX-License-Identifier: Apache-2.0
"""Networks trained on CIFAR-10 (docs/results/training.md), committed so that no data is needed.

Their integers are compared like any network's; their costs on the emulated core are held to the
budgets that they were trained for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaqat.deploy import Graph, load, simulate, verify
from adaqat.deploy.vectors import make_inputs

FOLDER = Path(__file__).parents[1] / "trained"
GOALS = {"resnet8_11M_40k": (11e6, 40_000), "resnet8_15M_60k": (15e6, 60_000)}
"""Instructions; bytes of code and constants."""


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.adaqat")))
def trained(request: pytest.FixtureRequest) -> tuple[str, Graph]:
    return request.param, load(FOLDER / f"{request.param}.adaqat")


def test_every_goal_has_its_network() -> None:
    assert {path.stem for path in FOLDER.glob("*.adaqat")} >= set(GOALS)


def test_the_integers_and_the_budget(trained: tuple[str, Graph]) -> None:
    pytest.importorskip("unicorn")
    name, graph = trained
    inputs = make_inputs(graph, samples=3, seed=1)
    assert len(np.unique(simulate(graph, inputs))) > 10, "it answers"
    assert verify(graph, "c99", inputs).mismatches == 0
    report = verify(graph, "cortex-m4", inputs, executor="emulator")
    assert report.mismatches == 0
    totals = report.totals
    if name in GOALS:
        instructions, size = GOALS[name]
        assert totals["instructions"] <= instructions
        assert totals["code_bytes"] + totals["const_bytes"] <= size
    counted, predicted = totals["instructions"], totals["predicted_instructions"]
    assert abs(predicted / counted - 1) < 0.02, "the table is the truth"
