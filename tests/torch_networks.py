# SPDX-License-Identifier: Apache-2.0
"""Small networks of published shapes: U-Nets, a temporal convolutional network, squeeze-excite."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        layers += [nn.Conv2d(source, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
                   nn.ReLU()]  # fmt: skip
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Two levels; ``up`` is transposed, nearest, bilinear or corners."""

    def __init__(self, up: str) -> None:
        super().__init__()
        self.up = up
        self.enter, self.down, self.bottom = double(3, 6), double(6, 10), double(10, 12)
        if up == "transposed":
            self.up1 = nn.ConvTranspose2d(12, 10, 2, stride=2)
            self.up2 = nn.Sequential(
                nn.ConvTranspose2d(10, 6, 3, 2, 1, output_padding=1, groups=2),
                nn.BatchNorm2d(6), nn.ReLU6(),
            )  # fmt: skip
        else:
            mode = "nearest" if up == "nearest" else "bilinear"
            corners = None if up == "nearest" else up == "corners"
            self.grow = nn.Upsample(scale_factor=2, mode=mode, align_corners=corners)
            self.up1, self.up2 = nn.Conv2d(12, 10, 1), nn.Conv2d(10, 6, 1)
        self.join1, self.join2 = double(20, 10), double(12, 6)
        self.head = nn.Conv2d(6, 2, 1)

    def raised(self, layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x) if self.up == "transposed" else layer(self.grow(x))

    def forward(self, x: Tensor) -> Tensor:
        a = self.enter(x)
        b = self.down(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        y = self.join1(torch.cat([self.raised(self.up1, c), b], 1))
        return self.head(self.join2(torch.cat([self.raised(self.up2, y), a], dim=1)))


class Causal(nn.Module):
    """Dilated causal convolution: padded on both sides, the end cut off."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(inputs, outputs, 3, padding=self.pad, dilation=dilation)
        self.norm = nn.BatchNorm1d(outputs)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x)[:, :, : -self.pad].contiguous())
        return F.relu(F.leaky_relu(y, 0.1) + self.skip(x))


class Tcn(nn.Module):
    """Temporal convolutional network; per step or one answer per sequence."""

    def __init__(self, *, steps: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Causal(4, 8, 1), Causal(8, 8, 2), Causal(8, 8, 4))
        self.steps = steps
        self.head: nn.Module = nn.Conv1d(8, 3, 1) if steps else nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(F.pad(x, (1, 0)))
        return self.head(y) if self.steps else self.head(y.mean(-1))


class Turned(nn.Module):
    """Features last, as audio and sensor networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(5, 6, 3), nn.Conv1d(10, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.one(x.transpose(1, 2)))  # from N x L x C
        return self.two(y.permute(0, 2, 1))


class Folded(nn.Module):
    """A map whose axes change places before it is flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(6, 2, 1)
        self.fc = nn.Linear(2 * 4 * 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x)).permute(0, 3, 1, 2)  # N x W x C x H
        y = self.last(torch.sigmoid(y)).transpose(2, 3)
        return self.fc(y.flatten(1))


class Excite(nn.Module):
    """Squeeze-excite with a choice of functions, and a channel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.act = nn.Hardswish()
        self.fc1, self.fc2 = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.prelu = nn.PReLU(8)
        self.dw = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.shuffle = nn.ChannelShuffle(4)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x * 0.5 + 0.1))
        gate = F.hardsigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))
        x = self.prelu(x * gate)
        left, right = x.chunk(2, dim=1)
        y = torch.cat([left, F.gelu(self.dw(right))], 1)
        n, c, h, w = y.size()
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
        y = torch.maximum(self.shuffle(y) - x, y)
        y = torch.sigmoid(y) * torch.tanh(y)
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))


def trained(model: nn.Module, x: Tensor) -> nn.Module:
    """BatchNorm statistics and gammas that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    model.train()
    with torch.no_grad():
        for _ in range(6):
            model(x)
    return model.eval()
