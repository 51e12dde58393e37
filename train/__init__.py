# SPDX-License-Identifier: Apache-2.0
"""Training: quantisers, learned bit-widths, exact mode.

    module = prepare(model, example_input)
    calibrate(module, batches)
    controller = AdaQAT(module, target="cortex-m4", budget={"flash_kb": 24}, steps=2000)
    ...                                  # the usual loop, with controller.step(...) in it
    integers = exact(module)             # then adaqat.deploy.lower(module, example_input)

The names below are the public interface. They are loaded when first used, so that the command line
can say ``--help`` without importing torch. No module may be called like one of them: importing it
would hide the name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import calibrate, reestimate_batch_norm
    from .controller import AdaQAT
    from .exact_mode import ExactModule, exact
    from .groups import Group
    from .module import QuantModule
    from .preparation import prepare
    from .recipe import Recipe
    from .result import RunResult
    from .search import Verdict
    from .training import fit

_HOME = {
    "AdaQAT": "controller",
    "ExactModule": "exact_mode",
    "Group": "groups",
    "QuantModule": "module",
    "Recipe": "recipe",
    "RunResult": "result",
    "Verdict": "search",
    "calibrate": "calibration",
    "exact": "exact_mode",
    "fit": "training",
    "prepare": "preparation",
    "reestimate_batch_norm": "calibration",
}

__all__ = [
    "AdaQAT",
    "ExactModule",
    "Group",
    "QuantModule",
    "Recipe",
    "RunResult",
    "Verdict",
    "calibrate",
    "exact",
    "fit",
    "prepare",
    "reestimate_batch_norm",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
