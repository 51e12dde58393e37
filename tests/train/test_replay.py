# SPDX-License-Identifier: Apache-2.0
"""Probes that go on from the training forward pass give what whole probes give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adaqat.train import QuantModule, calibrate, prepare
from adaqat.train.bits import override
from adaqat.train.replay import Replay


@pytest.fixture
def module(residual: Callable[[], nn.Module], images: Tensor) -> QuantModule:
    prepared = prepare(residual(), images)
    calibrate(prepared, [images])
    prepared.replay = Replay(prepared.network.records)
    return prepared.train()


def probe(module: QuantModule, x: Tensor, name: str, replay: bool) -> tuple[Tensor, int]:
    """Output of a probe of one width, and the number of records it ran."""
    count = 0

    def observe(name: str, value: Tensor) -> None:
        nonlocal count
        count += 1

    width = next(w for w in module.widths if w.name == name)
    held = module.replay
    module.replay = held if replay else None
    try:
        with torch.no_grad(), module.running(stats="probe"), override({width: width.integer - 1}):
            return module(x, observe), count
    finally:
        module.replay = held


def test_every_width(module: QuantModule, images: Tensor) -> None:
    module(images).sum().backward()
    counts = {}
    for width in module.widths:
        short, counts[width.name] = probe(module, images, width.name, True)
        whole, full = probe(module, images, width.name, False)
        assert torch.equal(short, whole), width.name
    assert counts["a:x"] == full and counts["w:conv"] == full - 1
    assert counts["w:conv1"] == full - 2, "input and stem are remembered"
    assert counts["w:fc"] == 1


def test_what_is_remembered_is_never_stale(module: QuantModule, images: Tensor) -> None:
    module(images).sum().backward()
    _, full = probe(module, images, "w:fc", False)
    assert probe(module, images.clone(), "w:fc", True)[1] == full, "another batch"
    with torch.no_grad():
        module.network_parameters()[0].add_(0.1)
    assert probe(module, images, "w:fc", True)[1] == full, "another weight"
    module(images).sum().backward()
    assert probe(module, images, "w:fc", True)[1] == 1
    assert module.replay is not None
    module.replay.forget()
    assert probe(module, images, "w:fc", True)[1] == full
