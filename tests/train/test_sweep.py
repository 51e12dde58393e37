# SPDX-License-Identifier: Apache-2.0
"""A sweep's study, front and mistakes; training itself is replaced by a formula."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adaqat.deploy import UsageError
from adaqat.train import Recipe
from adaqat.train import sweep as sweep_module
from adaqat.train.sweep import changed, study, sweep
from adaqat.train.sweep_cli import _choices

RECIPE = Recipe.parse({"search": {"target": "cortex-m4"}})


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    pytest.importorskip("optuna")
    seen: list[Recipe] = []

    def run(recipe: Recipe, out: Path, metric: str, root: Any) -> tuple[float, float]:
        seen.append(recipe)
        limit = recipe.search.budget[metric]
        if limit < 12:
            raise UsageError("budget: cannot be met")
        return 90 - 100 / limit - 1000 * abs(recipe.train.lr - 2e-3), limit * 0.98

    monkeypatch.setattr(sweep_module, "_run", run)
    return seen


def test_a_sweep_goes_on_and_finds_a_front(tmp_path: Path, formula: list[Recipe]) -> None:
    options: dict[str, Any] = {
        "metric": "flash_kb",
        "budget": (10.0, 60.0),
        "choices": {"train.lr": [1e-3, 2e-3]},
    }
    sweep(RECIPE, tmp_path, trials=4, **options)
    first = len(formula)
    rows = sweep(RECIPE, tmp_path, trials=8, **options)
    assert first >= 4 and len(formula) >= 8
    assert json.loads((tmp_path / "front.json").read_text()) == rows
    costs = [row["flash_kb"] for row in rows]
    scores = [row["validation"] for row in rows]
    assert costs == sorted(costs) and scores == sorted(scores), "a front"
    assert all(12 * 0.98 <= cost <= 60 for cost in costs)
    assert len(study(tmp_path).trials) == len(formula)


def test_trials_of_a_dead_worker_are_finished(tmp_path: Path, formula: list[Recipe]) -> None:
    found = study(tmp_path)
    lost = found.ask()
    lost.suggest_float("flash_kb", 20.0, 60.0, log=True)
    sweep(RECIPE, tmp_path, metric="flash_kb", budget=(20.0, 60.0), trials=1, resume=True)
    assert len(formula) == 1
    assert study(tmp_path).trials[lost.number].state.name == "COMPLETE"


@pytest.mark.parametrize("kind", ["journal", "database"])
def test_two_workers_share_one_study(tmp_path: Path, formula: list[Recipe], kind: str) -> None:
    database = None if kind == "journal" else f"sqlite:///{tmp_path}/sweep.db"
    study(tmp_path, database)  # the first worker makes it; two at once would race for the tables

    def work(_: int) -> list[dict[str, Any]]:
        return sweep(
            RECIPE, tmp_path, metric="flash_kb", budget=(20.0, 60.0), trials=6, database=database
        )

    with ThreadPoolExecutor(2) as pool:
        fronts = list(pool.map(work, range(2)))
    trials = study(tmp_path, database).trials
    assert len(trials) == len(formula) and len({t.number for t in trials}) == len(trials)
    done = [t for t in trials if t.state.name == "COMPLETE"]
    assert 6 <= len(done) <= 7, "a worker may be in its trial when the other ends the sixth"
    assert fronts[0] and json.loads((tmp_path / "front.json").read_text()) in fronts
    assert (tmp_path / "journal.log").exists() == (database is None)


def test_a_database_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(UsageError, match=r"--database: 'nosuch://x' cannot be opened"):
        study(tmp_path, "nosuch://x")


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two positive limits"):
        sweep(RECIPE, tmp_path, metric="flash_kb", budget=(0.0, 1.0))
    with pytest.raises(UsageError, match="no key of a recipe"):
        changed(RECIPE, {"train.lr.x": 1})
    with pytest.raises(UsageError, match=r"train\.epoch: unknown key"):
        changed(RECIPE, {"train.epoch": 1})
    with pytest.raises(UsageError, match="KEY=VALUE,VALUE"):
        _choices(["train.lr"])
    assert _choices(["a=1,2.5,kl"]) == {"a": [1, 2.5, "kl"]}
    assert list(tmp_path.iterdir()) == []
