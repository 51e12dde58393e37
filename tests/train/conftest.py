# SPDX-License-Identifier: Apache-2.0
"""Small networks and a made-up target whose costs are easy to follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from adaqat.hw_models import Cost  # noqa: E402
from adaqat.hw_models.work import Work  # noqa: E402

torch.set_num_threads(1)


class ToyTarget:
    """A cycle per multiply, cheaper below 5 bits on both sides; a plateau above."""

    name = "toy"
    kernels: tuple[str, ...] = ()
    clock_mhz = 1.0
    nj_per_cycle = 0.5
    has_cycles = True

    def latency_ms(self, cycles: float, stall_cycles: float = 0.0) -> float:
        return (cycles + stall_cycles) / self.clock_mhz / 1000

    def prices(self, kind: str) -> bool:
        return True

    def node_cost(self, work: Work) -> Cost:
        packed = work.weight_bits <= 4 and work.act_bits <= 4
        mac = [0, 0.5, 0.6, 0.75, 0.9][max(work.weight_bits, work.act_bits)] if packed else 1.0
        cycles = sum(v * (mac if k == "mac" else 1.0) for k, v in work.features.items())
        shared = {f"dot_{work.weight_bits}": 60} if work.weight_bits else {}
        energy = cycles * self.nj_per_cycle / 1000
        return Cost(cycles, cycles, energy, 100, work.const_bytes, shared)

    def run_bytes(self, nodes: int) -> int:
        return 50 + 10 * nodes


class Residual(nn.Module):
    """Every mergeable pattern: skip, strided shortcut, pool, classifier."""

    def __init__(self, channels: int = 2, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.short = nn.Conv2d(6, 8, 1, stride=2)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.conv(x)))
        y = F.relu(self.bn1(self.conv1(x))) + x
        z = F.relu(self.conv2(y) + self.short(y))
        return self.fc(z.mean((2, 3)))


@pytest.fixture
def target() -> ToyTarget:
    return ToyTarget()


@pytest.fixture
def residual() -> Callable[[], nn.Module]:
    """Makes the same network every time, with BatchNorm statistics that are not 0 and 1."""

    def make() -> nn.Module:
        torch.manual_seed(1)
        model = Residual()
        for _ in range(3):
            model(torch.randn(16, 2, 8, 8))
        return model.eval()

    return make


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(24, 2, 8, 8, generator=torch.Generator().manual_seed(5))
