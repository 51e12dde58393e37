# SPDX-License-Identifier: Apache-2.0
"""Candidates are trained from one start, whatever the search has done to the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from adaqat.train import Recipe, fit, phases, pricing
from adaqat.train.candidates import Assignment
from adaqat.train.trials import judge

pytest.importorskip("sklearn")

RECIPE: dict[str, Any] = {
    "data": {"limit": 128, "batch": 32},
    "float": {"epochs": 1},
    "search": {
        "target": "toy", "budget": {"flash_kb": 10.5}, "warm_up": 1, "part": 0.5, "adapt": 2,
        "trials": 0,
    },
    "train": {"epochs": 3, "exact_epochs": 1, "calibration": 32},
}  # fmt: skip


def test_scores_follow_from_the_widths_alone(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = pricing.load
    monkeypatch.setattr(pricing, "load", lambda name: target if name == "toy" else known(name))
    scores: list[dict[str, float]] = []

    def watched(
        phase: phases.QuantisedPhase, found: Mapping[str, Assignment], times: int = 1
    ) -> dict[str, float]:
        def state() -> dict[str, torch.Tensor]:
            return {k: v.clone() for k, v in phase.module.state_dict().items()}

        before = state()
        origin, weights = phase.origin, dict(phase.module.named_parameters())
        assert any(not torch.equal(origin[k], p) for k, p in weights.items()), "trained since"
        scores.append(judge(phase, found, times))
        assert all(torch.equal(v, before[k]) for k, v in state().items()), "put back"
        with torch.no_grad():
            for parameter in weights.values():
                parameter.mul_(1.5)
        # in another order, from other weights, with an optimiser that has seen more steps
        scores.append(judge(phase, dict(reversed(found.items())), times))
        scores.append(judge(phase, found, times + 4))
        phase.module.load_state_dict(before)
        return scores[0]

    monkeypatch.setattr(phases, "judge", watched)
    fit(Recipe.parse(RECIPE))
    first, again, longer = scores
    assert len(first) > 1 and first == again
    assert first != longer, "the training counts"
