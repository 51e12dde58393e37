# SPDX-License-Identifier: Apache-2.0
"""The networks of MLPerf Tiny (Banbury et al., 2021) beside ResNets, a small TCN and a U-Net.

Each is a function of (input channels, classes). Classifiers end in a global average, so that they
take any image size; the autoencoder and the U-Net have tasks of their own in a recipe (`tasks`).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _layer(
    inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; padded so that stride 1 keeps odd kernels' size."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (sides[0] // 2, sides[1] // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, sides, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_layer(inputs, inputs, 3, stride, inputs), _layer(inputs, outputs, 1))


class Pooled(nn.Module):
    """Features, global average, classifier."""

    def __init__(self, features: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.fc(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


def ds_cnn(channels: int, classes: int) -> nn.Module:
    """Keyword spotting: a 10x4 convolution of stride 2 and four separable layers of 64 channels.

    The benchmark's input is 1 x 49 x 10.
    """
    blocks = [_separable(64, 64) for _ in range(4)]
    return Pooled(nn.Sequential(_layer(channels, 64, (10, 4), 2), *blocks), 64, classes)


def mobilenet_v1_025(channels: int, classes: int) -> nn.Module:
    """Visual wake words: MobileNetV1 (Howard et al., 2017) with a quarter of the channels.

    The benchmark's input is 3 x 96 x 96.
    """
    plan = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)]
    plan += [(128, 1)] * 5 + [(256, 2), (256, 1)]
    layers: list[nn.Module] = [_layer(channels, 8, 3, 2)]
    before = 8
    for width, stride in plan:
        layers.append(_separable(before, width, stride))
        before = width
    return Pooled(nn.Sequential(*layers), before, classes)


class Autoencoder(nn.Module):
    """Anomaly detection: 640 inputs, four layers of 128, 8 in the middle, and back."""

    def __init__(self, features: int = 640, hidden: int = 128, code: int = 8) -> None:
        super().__init__()
        sizes = [features, *[hidden] * 4, code, *[hidden] * 4]
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(hidden, features))

    def forward(self, x: Tensor) -> Tensor:
        """The input again."""
        return self.body(x)  # type: ignore[no-any-return]


def autoencoder(channels: int, classes: int) -> nn.Module:
    """MLPerf Tiny's autoencoder; ``channels`` are the input features, ``classes`` is not used."""
    return Autoencoder(channels)


class _Temporal(nn.Module):
    """Two dilated convolutions along time and a skip."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation), bias=False
        )
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation), bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Residual block."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


def tcn(channels: int, classes: int) -> nn.Module:
    """Temporal convolutional network (after Bai et al., 2018) over N x channels x 1 x time.

    Dilations 1, 2, 4 and 8; centred instead of causal, as classification sees the whole window.
    """
    blocks = [_Temporal(24, dilation) for dilation in (1, 2, 4, 8)]
    return Pooled(nn.Sequential(_layer(channels, 24, (1, 3)), *blocks), 24, classes)


class UNet(nn.Module):
    """Encoder and decoder of three levels, joined level by level (Ronneberger et al., 2015).

    Padded convolutions keep sizes, transposed ones of stride 2 double them: height and width are
    multiples of 4.
    """

    def __init__(self, channels: int, classes: int, width: int = 8) -> None:
        super().__init__()

        def twice(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(_layer(inputs, outputs, 3), _layer(outputs, outputs, 3))

        self.enter = twice(channels, width)
        self.down = twice(width, 2 * width)
        self.bottom = twice(2 * width, 4 * width)
        self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.join1 = twice(4 * width, 2 * width)
        self.up2 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join2 = twice(2 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of every pixel, N x classes x height x width."""
        high = self.enter(x)
        middle = self.down(F.max_pool2d(high, 2))
        low = self.bottom(F.max_pool2d(middle, 2))
        y = self.join1(torch.cat([self.up1(low), middle], 1))
        return self.head(self.join2(torch.cat([self.up2(y), high], 1)))  # type: ignore[no-any-return]


def unet(channels: int, classes: int) -> nn.Module:
    """Small U-Net: 30 k parameters with 3 channels."""
    return UNet(channels, classes)
