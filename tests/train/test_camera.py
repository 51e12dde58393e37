# SPDX-License-Identifier: Apache-2.0
"""Bytes of a camera in: normalisation as an exact table per channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adaqat.deploy import UsageError, dequantize_output, lower, quantize_input, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.targets import get
from adaqat.deploy.verification import compare_host
from adaqat.train import calibrate, exact, prepare
from adaqat.train.vision import torchvision

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Net(nn.Module):
    def __init__(self, front: nn.Module | None = None) -> None:
        super().__init__()
        self.front = front or nn.Identity()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(self.front(x))))
        return self.fc(x.mean((2, 3)))


class Buffers(nn.Module):
    """Normalisation as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.std = (nn.Buffer(torch.tensor(v).view(1, 3, 1, 1)) for v in (MEAN, STD))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Inside(nn.Module):
    """Constants made inside forward, as torchvision's Normalize does."""

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, dtype=x.dtype).view(-1, 1, 1) for v in (MEAN, STD))
        return x.clone().sub_(mean).div_(std) * torch.ones(3, 1, 1)


def images() -> tuple[np.ndarray, Tensor]:
    raw = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3)).astype(np.uint8)
    return raw, torch.from_numpy(raw).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("front", ["option", "buffers", "inside", "torchvision"])
def test_bytes_in(front: str) -> None:
    """The device reads the camera's bytes; the integers are those of exact mode."""
    torch.manual_seed(0)
    raw, x = images()
    parts = {"option": nn.Identity, "buffers": Buffers, "inside": Inside,
             "torchvision": lambda: torchvision().transforms.Normalize(MEAN, STD)}  # fmt: skip
    model = Net(parts[front]()).eval()
    option = (MEAN, STD) if front == "option" else None
    module = prepare(model, x[:2], input_normalisation=option, input_scale=1 / 255)
    calibrate(module, [x])
    graph = lower(module.eval(), x)
    info = graph.input_node.output
    assert (str(info.type), info.zero, np.float32(info.scale)) == ("u8", 0, np.float32(1 / 255))
    assert np.array_equal(quantize_input(graph, x.double().numpy()), raw)
    first = next(n for n in graph.nodes if n.inputs == (graph.input_node.name,))
    assert isinstance(first.op, Lookup) and first.op.table.shape == (3, 256)
    info = first.output  # every entry is the nearest code of the normalised byte
    real = ((np.arange(256) / 255 - np.array(MEAN)[:, None]) / np.array(STD)[:, None]) / info.scale
    wanted = np.clip(np.floor(real + 0.5), -128, 127)
    assert np.abs(first.op.table - wanted).max() <= 1 and (first.op.table != wanted).mean() < 0.01
    codes = simulate(graph, raw)
    with torch.no_grad():
        assert np.array_equal(exact(module)(x).numpy(), dequantize_output(graph, codes))
        real_net = model if option is None else nn.Sequential(Buffers(), model)
        error = (exact(module)(x) - real_net(x)).norm() / real_net(x).norm()
    assert error < 0.1
    assert compare_host(layout(graph, get("c99"), "net"), raw).mismatches == 0


def test_the_first_layer_is_still_the_first() -> None:
    _, x = images()
    module = prepare(Net(), x[:2], weight_bits=4, act_bits=4, input_normalisation=(MEAN, STD))
    reasons = {group.name: group.reason for group in module.groups()}
    assert reasons["w:conv"] == "first layer"
    assert reasons["a:input_normalised"] == reasons["a:x"] == "network input"
    assert not module.calibrated


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_scale": 0.0}, "input_scale: 0.0; a positive number"),
        ({"input_normalisation": ((0.1, 0.2), (1.0, 1.0))}, "2 channels; the input has 3"),
        ({"input_normalisation": ((0.1, 0.2), (1.0,))}, "2 means and 1 deviations"),
        ({"input_normalisation": ((0.1,), (0.0,))}, "positive numbers are needed"),
    ],
)
def test_mistakes(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(Net(), images()[1][:2], **options)
