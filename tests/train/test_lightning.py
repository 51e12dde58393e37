# SPDX-License-Identifier: Apache-2.0
"""The controller as a callback of Lightning: the search of an own loop, and resumable."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from adaqat.train import AdaQAT, QuantModule, calibrate, prepare

if importlib.util.find_spec("lightning") is None:
    pytest.skip("lightning is not installed", allow_module_level=True)


from adaqat.train.lightning import AdaQATCallback

lightning = importlib.import_module("lightning")
STEPS = 30


def network() -> QuantModule:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 36, 4),
    )  # fmt: skip
    module = prepare(model, torch.randn(2, 1, 6, 6))
    calibrate(module, [torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(1))])
    return module


def data() -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(2)
    return [
        (torch.randn(16, 1, 6, 6, generator=random), torch.arange(16) % 4) for _ in range(STEPS)
    ]


def loader() -> DataLoader[Any]:
    return DataLoader(data(), batch_size=None)  # type: ignore[arg-type]


def searching(module: QuantModule) -> AdaQAT:
    return AdaQAT(
        module, target="cortex-m4", budget={"flash_kb": 3.7}, steps=STEPS, warm_up=2, search=0.7
    )


def loss_of(holder: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    output = holder.net(batch[0])
    return cross_entropy(output, batch[1]), output


class Holder(lightning.LightningModule):  # type: ignore[misc,name-defined]
    def __init__(self, net: QuantModule) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return loss_of(self, batch)[0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=1e-2)


def trainer(folder: Path, controller: AdaQAT, steps: int) -> Any:
    return lightning.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        callbacks=[AdaQATCallback(controller, loss_of)],
    )  # fmt: skip


def test_the_same_widths_as_in_an_own_loop(tmp_path: Path) -> None:
    module = network()
    controller = searching(module)
    trainer(tmp_path, controller, STEPS).fit(Holder(module), loader())
    assert controller.done and controller.costs()["flash_kb"] <= 3.7

    own = network()
    other = searching(own)
    optimizer = torch.optim.SGD(own.parameters(), lr=1e-2)
    own.train()
    for x, y in data():
        loss = cross_entropy(own(x), y)
        optimizer.zero_grad()
        loss.backward()
        other.step(lambda x=x, y=y: (cross_entropy(o := own(x), y), o))
        optimizer.step()
    assert [w.bits for w in module.widths] == [w.bits for w in own.widths]
    assert len({w.bits for w in module.widths}) > 1, "the search has moved something"
    for key, value in own.state_dict().items():
        assert torch.equal(module.state_dict()[key], value), key


def test_a_checkpoint_of_lightning_holds_the_search(tmp_path: Path) -> None:
    module = network()
    controller = searching(module)
    first = trainer(tmp_path, controller, STEPS // 3)
    first.fit(Holder(module), loader())
    assert not controller.done
    first.save_checkpoint(tmp_path / "half.ckpt")

    again = network()
    found = searching(again)
    second = trainer(tmp_path, found, STEPS // 3)
    second.fit(Holder(again), loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=False)
    assert found.state() == controller.state()
    assert [w.n for w in again.widths] == [w.n for w in module.widths]
