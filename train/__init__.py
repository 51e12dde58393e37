# SPDX-License-Identifier: Apache-2.0
"""Training: quantisers, learned bit-widths, exact mode.

    module = prepare(model, example_input)
    calibrate(module, batches)
    controller = AdaQAT(module, target="cortex-m4", budget={"flash_kb": 24}, steps=2000)
    ...
    integers = exact(module)
"""

from __future__ import annotations

from .calibrate import calibrate, reestimate_batch_norm
from .exact import ExactModule, exact
from .module import Group, QuantModule
from .prepare import prepare

__all__ = ["ExactModule", "Group", "QuantModule", "calibrate", "exact", "prepare",
           "reestimate_batch_norm"]
