# SPDX-License-Identifier: Apache-2.0
"""Run by test_parallel.py, alone or under torchrun: python parallel_run.py OUT ADAPT."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from conftest import ToyTarget

from adaqat.train import Recipe, fit, pricing

RECIPE = {
    "data": {"limit": 96, "batch": 32},
    # plain gradient descent: Adam would blow rounding errors of vanishing gradients up
    "float": {"epochs": 1, "optimizer": "sgd", "lr": 0.05, "mixup": 0.2},
    "search": {
        "target": "toy", "budget": {"flash_kb": 10.5}, "warm_up": 1, "part": 0.6, "trials": 3,
    },
    # few bits from the start: their worth is far above rounding errors
    "quant": {"weight_bits": 5, "act_bits": 5},
    "train": {
        "epochs": 3, "exact_epochs": 1, "calibration": 32, "optimizer": "sgd", "lr": 0.01,
    },
}  # fmt: skip


def main() -> None:
    out, rank = Path(sys.argv[1]), os.environ.get("RANK", "0")
    RECIPE["search"]["adapt"] = int(sys.argv[2])  # type: ignore[index]
    known = pricing.load
    pricing.load = lambda name: ToyTarget() if name == "toy" else known(name)  # type: ignore[assignment]
    seen = 0

    def listener(event: object) -> None:
        nonlocal seen
        seen += 1

    result = fit(Recipe.parse(RECIPE), out, listener=listener)
    widths = {w.name: w.integer for w in result.module.widths}
    assert result.controller is not None
    state = {
        "widths": widths,
        "events": seen,
        "worth": result.controller.search.worth,
        "trials": [(t.name, t.score) for t in result.controller.trials],
    }
    out.with_name(f"{out.name}-{rank}.json").write_text(json.dumps(state))
    torch.save(result.module.state_dict(), out.with_name(f"{out.name}-{rank}.pt"))


if __name__ == "__main__":
    main()
