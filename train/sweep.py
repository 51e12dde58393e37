# SPDX-License-Identifier: Apache-2.0
"""``adaqat sweep``: many budgets and settings of one recipe, towards a front of accuracy and cost.

Trials live in an Optuna study, in a journal file beside the runs or in a database, so that a sweep
goes on where it stopped, and so that any number of workers, on any machines that share the folder
or the database, can join it. A
trial whose worker died is taken up again with its own checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..deploy.errors import UsageError
from .recipe import Recipe

JOURNAL = "journal.log"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "sweep: optuna is not installed; it keeps the trials; install adaqat-deploy[sweep]"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def study(out: Path, database: str | None = None) -> Any:
    """The study of a sweep, made if it is not there: more accuracy, less cost.

    Args:
        out: its folder, which holds the journal.
        database: URL of a database that takes the journal's place, as SQLAlchemy writes it.

    Raises:
        UsageError: optuna is missing, or the database cannot be opened.
    """
    optuna = _optuna()
    out.mkdir(parents=True, exist_ok=True)
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if database is None:
        storage: Any = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    else:
        try:
            storage = RDBStorage(database)
        except Exception as error:  # of SQLAlchemy, of a driver, or a driver that is missing
            raise UsageError(
                f"--database: {database!r} cannot be opened ({error}); a URL such as "
                "sqlite:///sweep.db or postgresql://user@host/name is expected, with its driver "
                "installed"
            ) from error
    return optuna.create_study(
        study_name="sweep",
        storage=storage,
        load_if_exists=True,
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=None, multivariate=False),
    )


def sweep(
    recipe: Recipe,
    out: Path,
    *,
    metric: str,
    budget: tuple[float, float],
    choices: Mapping[str, Sequence[Any]] | None = None,
    trials: int = 10,
    data_root: Path | None = None,
    resume: bool = False,
    database: str | None = None,
) -> list[dict[str, Any]]:
    """Run trials until the study holds ``trials`` finished ones; returns the front.

    Accuracies are those of the validation split: the front is chosen by them.

    Args:
        recipe: what all trials share.
        out: folder of the sweep; a trial's run is ``out/trial_<number>``.
        metric: budget metric, also the cost of the front.
        budget: smallest and largest limit; one outside what can be met fails its trial only.
        choices: values to choose from, by dotted recipe key.
        trials: how many.
        data_root: see `fit`.
        resume: first finish trials that a killed worker left; no other worker may be running.
        database: see `study`.

    Raises:
        UsageError: optuna is missing, or a limit or key that makes no sense.
    """
    low, high = budget
    if not 0 < low <= high:
        raise UsageError(f"sweep: budget {low} to {high}; two positive limits, ascending, needed")
    for key, options in (choices or {}).items():
        for value in options:
            changed(recipe, {key: value})
    found = study(out, database)
    optuna = _optuna()
    finished = optuna.trial.TrialState.COMPLETE
    failures = 0
    running = (optuna.trial.TrialState.RUNNING,)
    for left in found.get_trials(states=running) if resume else []:
        again = {f"search.budget.{metric}" if k == metric else k: v for k, v in left.params.items()}
        if metric in left.params:
            folder = out / f"trial_{left.number}"
            found.tell(left.number, _run(changed(recipe, again), folder, metric, data_root))
        else:
            found.tell(left.number, state=optuna.trial.TrialState.FAIL)
    while len(found.get_trials(states=(finished,))) < trials:
        trial = found.ask()
        values: dict[str, Any] = {
            f"search.budget.{metric}": trial.suggest_float(metric, low, high, log=True)
        }
        for key, options in (choices or {}).items():
            values[key] = trial.suggest_categorical(key, list(options))
        try:
            folder = out / f"trial_{trial.number}"
            score, cost = _run(changed(recipe, values), folder, metric, data_root)
        except UsageError as error:
            trial.set_user_attr("error", str(error))
            found.tell(trial, state=optuna.trial.TrialState.FAIL)
            failures += 1
            if failures >= max(3, trials):
                raise
            continue
        found.tell(trial, (score, cost))
    front = sorted(found.best_trials, key=lambda t: t.values[1])
    rows = [
        {
            "run": f"trial_{t.number}",
            "validation": t.values[0],
            metric: t.values[1],
            "settings": dict(t.params),
        }
        for t in front
    ]
    # several workers may end at once
    part = out / f"front.{uuid4().hex}.part"
    part.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    part.replace(out / "front.json")
    return rows


def _run(recipe: Recipe, out: Path, metric: str, data_root: Path | None) -> tuple[float, float]:
    from .training import fit

    figures = fit(recipe, out, data_root=data_root, resume=out.exists()).figures
    return figures["accuracy"]["validation"], figures["predicted"][metric]


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with some keys, given with dots, set to other values.

    Raises:
        UsageError: an unknown key or a bad value.
    """
    plain = recipe.model_dump(by_alias=True)
    for key, value in values.items():
        *parents, name = key.split(".")
        place: Any = plain
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise UsageError(f"sweep: {key!r} is no key of a recipe; write for example train.lr")
        place[name] = value
    return Recipe.parse(plain, "sweep")
