# SPDX-License-Identifier: Apache-2.0
"""Run by test_resume.py: trains in children that are killed with SIGKILL until one finishes.

    python killed_run.py RECIPE.toml OUT GRADIENTS

Every child goes on from the run's checkpoint and dies in the middle of a step: after its
GRADIENTS-th backward pass, before the optimiser. Prints how many died. 0 kills nobody.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from conftest import ToyTarget

from adaqat.train import calibration, fit, phases, pricing, training


def child(recipe: Path, out: Path, steps: int) -> None:
    known = pricing.load
    pricing.load = lambda name: ToyTarget() if name == "toy" else known(name)  # type: ignore[assignment]
    left = steps
    backward = torch.Tensor.backward
    calibrated = out / "checkpoint.safetensors"
    calls = 0
    judging = False
    known_judge = phases.judge

    def judge(*args: Any) -> dict[str, float]:
        # candidates train inside one step of the run: their own steps do not count
        nonlocal judging
        judging = True
        try:
            return known_judge(*args)
        finally:
            judging = False

    def deadly(self: torch.Tensor, *args: Any, **options: Any) -> None:
        nonlocal left
        backward(self, *args, **options)
        left -= not judging
        if left == 0 and not judging:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(*args: Any) -> None:
        nonlocal calls
        calls += 1
        calibration.calibrate(*args)

    torch.Tensor.backward = deadly  # type: ignore[method-assign, assignment]
    phases.judge = judge
    training.calibrate = counted  # type: ignore[assignment]
    resume = out.exists()
    again = resume and calibrated.exists()
    result = fit(recipe, out, resume=resume)
    assert not again or calls == 0, "calibrated again on resume"
    torch.save(result.module.state_dict(), out / "state.pt")


def main() -> None:
    recipe, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    deaths = 0
    while True:
        pid = os.fork()
        if pid == 0:
            try:
                child(recipe, out, steps)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        deaths += 1
        assert deaths < 30, "no progress"
    assert os.waitstatus_to_exitcode(status) == 0
    print(deaths)


if __name__ == "__main__":
    main()
