# SPDX-License-Identifier: Apache-2.0
"""Small networks for microcontrollers, by name, and loading of the user's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from ..deploy.errors import UsageError
from .reference_models import autoencoder, ds_cnn, mobilenet_v1_025, tcn, unet


class Block(nn.Module):
    """Two 3x3 convolutions and a skip, a strided 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Residual block."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, residual blocks, global average, classifier."""

    def __init__(
        self, channels: int, classes: int, widths: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        inputs = [widths[0], *widths[:-1]]
        self.blocks = nn.Sequential(
            *(Block(i, o, s) for i, o, s in zip(inputs, widths, strides, strict=True))
        )
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        x = F.relu(self.bn(self.conv(x)))
        x = self.blocks(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))  # type: ignore[no-any-return]


class SmallCnn(nn.Module):
    """Convolutions with pooling and a depthwise-separable layer, for 28x28 images."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()

        def layer(i: int, o: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(i, o, kernel, padding=kernel // 2, groups=groups, bias=False),
                nn.BatchNorm2d(o),
                nn.ReLU(),
            )

        self.features = nn.Sequential(
            layer(channels, 16),
            nn.MaxPool2d(2),
            layer(16, 32),
            nn.MaxPool2d(2),
            layer(32, 32, groups=32),
            layer(32, 64, 1),
            layer(64, 64, groups=64),
            layer(64, 64, 1),
        )
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.fc(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


def digits_resnet(channels: int, classes: int) -> nn.Module:
    """Residual network for 8x8 digits: 14 k parameters, three blocks, two with a 1x1 shortcut."""
    return ResNet(channels, classes, (8, 16, 24), (1, 2, 2))


def _scaled(widths: tuple[int, ...], multiplier: float) -> tuple[int, ...]:
    """Channels times a multiplier, in whole groups of 4 (a word of 8-bit activations)."""
    return tuple(max(4, 4 * round(w * multiplier / 4)) for w in widths)


def resnet8(channels: int, classes: int, multiplier: float = 1.0) -> nn.Module:
    """ResNet-8 of MLPerf Tiny (Banbury et al., 2021): 78 k parameters, 12.5 M MACs at 32x32."""
    return ResNet(channels, classes, _scaled((16, 32, 64), multiplier), (1, 2, 2))


def resnet20(channels: int, classes: int, multiplier: float = 1.0) -> nn.Module:
    """ResNet-20 (He et al., 2016) with 1x1 shortcuts: 0.27 M parameters, 41 M MACs at 32x32."""
    widths = _scaled((16, 16, 16, 32, 32, 32, 64, 64, 64), multiplier)
    return ResNet(channels, classes, widths, (1, 1, 1, 2, 1, 1, 2, 1, 1))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "digits_resnet": digits_resnet,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "small_cnn": SmallCnn,
    "ds_cnn": ds_cnn,
    "mobilenet_v1_025": mobilenet_v1_025,
    "autoencoder": autoencoder,
    "tcn": tcn,
    "unet": unet,
}
SCALED: dict[str, Callable[[int, int, float], nn.Module]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
}
"""Networks whose channels a name like ``resnet8@0.75`` multiplies."""


def build_model(name: str, channels: int, classes: int) -> nn.Module:
    """A network by name, or ``file.py:function`` / ``package.module:function`` of the user.

    The function is called with (input channels, classes). ``resnet8@0.75`` has three quarters of
    the channels.

    Raises:
        UsageError: an unknown name, or something that gives no module.
    """
    if name in MODELS:
        return MODELS[name](channels, classes)
    base, at, factor = name.partition("@")
    if at:
        try:
            multiplier = float(factor)
        except ValueError:
            multiplier = 0.0
        if base not in SCALED or not 0.1 <= multiplier <= 4:
            raise UsageError(
                f"model: {name!r} found; NAME@MULTIPLIER with {', '.join(SCALED)} and a number "
                "from 0.1 to 4 is supported"
            )
        return SCALED[base](channels, classes, multiplier)
    place, _, attribute = name.partition(":")
    if not attribute:
        raise UsageError(
            f"model: {name!r} found; {', '.join(MODELS)} or file.py:function are supported"
        )
    try:
        if place.endswith(".py"):
            path = Path(place).resolve()
            spec = importlib.util.spec_from_file_location(f"adaqat_user_{path.stem}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        built = getattr(module, attribute)(channels, classes)
    except (OSError, ImportError, AttributeError, TypeError) as error:
        raise UsageError(
            f"model: {name!r} cannot be built ({error}); a function of (channels, "
            "classes) is expected"
        ) from error
    if not isinstance(built, nn.Module):
        raise UsageError(f"model: {name!r} gave {type(built).__name__}; an nn.Module is expected")
    return built
