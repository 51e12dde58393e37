# SPDX-License-Identifier: Apache-2.0
"""A limit on working memory holds for the code that is emitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UsageError, build, lower
from adaqat.train import AdaQAT, calibrate, prepare
from adaqat.train.arena import Arena

Make = Callable[[], nn.Module]


def test_the_arena_is_that_of_the_emitted_code(
    residual: Make, images: Tensor, tmp_path: Path
) -> None:
    module = prepare(residual(), images, target="cortex-m4")
    calibrate(module, [images])
    arena = Arena(module, "cortex-m4")
    size, _ = arena.smallest(module.widths[:0])
    limits = {"ram_kb": size + 0.25, "flash_kb": 6.0}
    controller = AdaQAT(module.train(), steps=20, budget=limits, warm_up=0, search=0.2)
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    labels = torch.arange(len(images)) % 4

    def closure() -> tuple[Tensor, Tensor]:
        output = module(images)
        return F.cross_entropy(output, labels), output

    while not controller.done:
        loss, output = closure()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        controller.step(closure, loss=loss, output=output)
        optimizer.step()
    artefact = build(lower(module.eval(), images), "cortex-m4", tmp_path / "firmware")
    emitted = artefact.model.ram_words * 4 / 1024
    assert controller.arena.kilobytes({}) == emitted <= limits["ram_kb"]


def test_limits_that_cannot_be_met(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images, target="cortex-m4")
    calibrate(module, [images])
    with pytest.raises(UsageError, match=r"ram_kb = 0.1 cannot be met on cortex-m4; the smallest"):
        AdaQAT(module, steps=10, budget={"ram_kb": 0.1, "flash_kb": 9.0})
    with pytest.raises(UsageError, match="only ram_kb found"):
        AdaQAT(module, steps=10, budget={"ram_kb": 10.0})
