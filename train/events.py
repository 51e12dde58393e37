# SPDX-License-Identifier: Apache-2.0
"""What is logged after every epoch of quantised training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .exact_mode import exact
from .module import QuantModule

if TYPE_CHECKING:
    from .controller import AdaQAT
    from .session import Run


def epoch_figures(run: Run, module: QuantModule, controller: AdaQAT | None) -> dict[str, Any]:
    """Scores of the validation split, widths, costs, and what the last probes said.

    The integers' own score, which takes a pass through exact mode, only where it is watched.
    """
    module.eval()
    validation = run.data.validation
    figures: dict[str, Any] = {"validation": run.score(module, validation)[0]}
    if run.recipe.watch.tensorboard:
        figures["integer"] = run.score(exact(module), validation)[0]
    figures["widths"] = {w.name: round(w.n, 3) for w in module.widths if not w.fixed}
    if controller is None:
        return figures | {"costs": {}, "strength": {}, "probes": {}}
    return figures | {
        "costs": controller.costs(),
        "strength": dict(controller.strength),
        "probes": {
            v.name: [v.probed, v.worth, v.price]
            for v in controller.verdicts()
            if v.probed is not None
        },
    }
