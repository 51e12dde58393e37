# SPDX-License-Identifier: Apache-2.0
"""The packaged networks can be prepared and priced; their sizes are those of their sources."""

from __future__ import annotations

import pytest
import torch

from adaqat.deploy import UsageError
from adaqat.train import calibrate, exact, prepare
from adaqat.train.models import build_model
from adaqat.train.pricing import network_cost


def parameters(name: str, channels: int, classes: int) -> int:
    return sum(p.numel() for p in build_model(name, channels, classes).parameters())


def test_sizes() -> None:
    assert parameters("resnet8", 3, 10) == pytest.approx(77_850, rel=0.01)
    weights = 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8
    assert parameters("autoencoder", 640, 0) == weights + 2 * (8 * 128 + 8) + 640
    assert parameters("ds_cnn", 1, 12) == (
        40 * 64 + 4 * (9 * 64 + 64 * 64) + 9 * 2 * 64 + 64 * 12 + 12
    )
    assert parameters("resnet20", 3, 10) == pytest.approx(272_000, rel=0.01)
    half = build_model("resnet8@0.5", 3, 10)
    assert half.get_submodule("conv").weight.shape[0] == 8  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("resnet20", (3, 16, 16), 10),
        ("ds_cnn", (1, 49, 10), 12),
        ("mobilenet_v1_025", (3, 32, 32), 2),
        ("autoencoder", (640,), 0),
        ("tcn", (6, 1, 32), 5),
        ("unet", (3, 8, 12), 2),
    ],
)
def test_every_network_becomes_integers(name: str, shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, *shape)
    model = build_model(name, shape[0], classes)
    model(x)
    module = prepare(model.eval(), x).eval()
    calibrate(module, [x])
    cost = network_cost(module, "cortex-m4")
    assert cost.total("cycles") > 0
    free = [w for w in module.widths if not w.fixed]
    assert cost.total("flash_kb", {w: 2 for w in free}) < cost.total("flash_kb")
    error = (exact(module)(x) - module(x)).norm() / module(x).norm()
    assert float(error.detach()) < 0.05


@pytest.mark.parametrize("name", ["resnet8@", "resnet8@0", "tcn@2", "resnet8@x"])
def test_multipliers(name: str) -> None:
    with pytest.raises(UsageError, match="NAME@MULTIPLIER"):
        build_model(name, 3, 10)
