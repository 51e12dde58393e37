# SPDX-License-Identifier: Apache-2.0
"""The figures of a finished run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ..hw_models import HwModelError, load
from .controller import AdaQAT
from .data import Data, Pair
from .exact_mode import exact
from .module import QuantModule
from .pricing import network_cost
from .reasons import reasons
from .recipe import Recipe
from .shrink import shrunk
from .tasks import TASKS


@dataclass(frozen=True)
class RunResult:
    """What `fit` gives back.

    Attributes:
        module: trained, in evaluation mode; ready for ``exact`` and ``lower``.
        example: a few real inputs.
        figures: the content of result.json.
        controller: None where nothing was searched.
        test: the test split, real images and labels.
    """

    module: QuantModule
    example: Tensor
    figures: dict[str, Any]
    controller: AdaQAT | None
    test: Pair


def mean_weight_bits(module: QuantModule) -> tuple[float, float]:
    """(per weight, per layer) mean width of the weights that stay, fixed layers included."""
    module = shrunk(module)
    bits = {
        r.weight: (module.weight_quantizer(r).width.integer, module.tensor(r.weight).numel())
        for r in module.network.records
        if r.weight is not None
    }
    count = sum(n for _, n in bits.values())
    return (
        sum(b * n for b, n in bits.values()) / max(count, 1),
        sum(b for b, _ in bits.values()) / max(len(bits), 1),
    )


def describe(
    recipe: Recipe,
    data: Data,
    module: QuantModule,
    controller: AdaQAT | None,
    float_test: float,
    seconds: float,
) -> dict[str, Any]:
    """Figures of result.json."""
    module.eval()
    per_weight, per_layer = mean_weight_bits(module)
    task = TASKS[recipe.task]
    fake, integer = task.score(module, data.test), task.score(exact(module), data.test)
    validation: tuple[float | None, float | None] = (None, None)
    if len(data.validation[0]):
        validation = task.score(exact(module), data.validation)
    figures: dict[str, Any] = {
        "name": recipe.name,
        "data": {
            "name": data.name,
            "train": len(data.train[0]),
            "validation": len(data.validation[0]),
            "test": len(data.test[0]),
        },
        "model": {
            "name": recipe.model,
            "parameters": sum(p.numel() for p in shrunk(module).network_parameters()),
        },
        "task": recipe.task,
        "metric": task.metric,
        "accuracy": {
            "float": float_test,
            "fake_quantised": fake[0],
            "integer": integer[0],
            "validation": validation[0],
        },
        "cross_entropy" if task.soft else "squared_error": {
            "fake_quantised": fake[1],
            "integer": integer[1],
            "validation": validation[1],
        },
        "weight_bits": {"mean_per_weight": per_weight, "mean_per_layer": per_layer},
        "widths": [{**asdict(group), "members": list(group.members)} for group in module.groups()],
        "seconds": round(seconds, 1),
    }
    if controller is None:
        figures |= _priced(recipe, module)
    else:
        figures["target"] = controller.cost.name
        figures["budget"] = controller.budget
        figures["predicted"] = controller.costs()
        if controller.ram_kb is not None:
            figures["budget"] = {**controller.budget, "ram_kb": controller.ram_kb}
            figures["predicted"]["ram_kb"] = controller.arena.kilobytes({})
        figures["strength"] = controller.strength
        figures["method"] = controller.method
        figures["candidates"] = [asdict(trial) for trial in controller.trials]
        few = data.validation if len(data.validation[0]) else data.train
        found = reasons(module, controller, few, task)
        figures["why"] = [
            {**asdict(reason), "breaks": list(reason.breaks), "why": reason.why()}
            for reason in found
        ]
        figures["probes"] = [asdict(verdict) for verdict in controller.verdicts()]
    return figures


def _priced(recipe: Recipe, module: QuantModule) -> dict[str, Any]:
    """Target and predicted cost of given widths; nothing where the table lacks a kind of layer."""
    search = recipe.search
    try:
        target = load(search.target, search.board) if search.board else search.target
        cost = network_cost(module, target)
    except HwModelError:
        return {}
    return {"target": cost.name, "predicted": {m: cost.total(m) for m in cost.limited}}
