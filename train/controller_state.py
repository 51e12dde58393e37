# SPDX-License-Identifier: Apache-2.0
"""The controller's state as plain JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .candidates import Trial
from .relaxed import RelaxedSearch

if TYPE_CHECKING:
    from .controller import AdaQAT

PLAIN = ("count", "done", "averaged", "looks")
TABLES = ("smooth_n", "sum_n", "scores")


def _texts(table: Mapping[str, Mapping[int, float]]) -> dict[str, dict[str, float]]:
    return {name: {str(k): v for k, v in values.items()} for name, values in table.items()}


def _numbers(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[int, float]]:
    return {name: {int(k): v for k, v in values.items()} for name, values in table.items()}


def controller_state(controller: AdaQAT) -> dict[str, Any]:
    """Everything but the widths themselves, which the module holds."""
    search = controller.search
    return {
        **{key: getattr(controller, key) for key in PLAIN},
        **{key: dict(getattr(controller, key)) for key in TABLES},
        "turn": search.turn,
        "strength": dict(controller.strength),
        "worth": _texts(search.worth),
        "last": {name: list(values) for name, values in search.last.items()},
        "sensitivity": _texts(controller.sensitivity.total),
        "sensitivity_batches": controller.sensitivity.batches,
        "pending": {
            name: {w.name: b for w, b in bits.items()} for name, bits in controller.pending.items()
        },
        "trials": [asdict(trial) for trial in controller.trials],
        "relaxed": search.state() if isinstance(search, RelaxedSearch) else None,
    }


def load_controller_state(controller: AdaQAT, state: Mapping[str, Any]) -> None:
    """Restore what `controller_state` gave."""
    search = controller.search
    for key in PLAIN:
        setattr(controller, key, state[key])
    for key in TABLES:
        setattr(controller, key, dict(state[key]))
    search.turn = state["turn"]
    controller.strength.update(state["strength"])
    search.worth = _numbers(state["worth"])
    search.last = {name: (v[0], v[1], v[2]) for name, v in state["last"].items()}
    controller.sensitivity.total = _numbers(state["sensitivity"])
    controller.sensitivity.batches = state["sensitivity_batches"]
    controller.pending = {
        name: {controller.widths[w]: b for w, b in bits.items()}
        for name, bits in state["pending"].items()
    }
    controller.trials = [Trial(**trial) for trial in state["trials"]]
    if isinstance(search, RelaxedSearch):
        search.load_state(state["relaxed"])
