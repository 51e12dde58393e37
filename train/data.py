# SPDX-License-Identifier: Apache-2.0
"""Data sets with seeded splits: digits in several forms, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..deploy.errors import UsageError
from .digits import SCENE_CLASSES, digits_pair, digits_scenes, digits_sequence, digits_vectors
from .vision import torchvision

ROOT_VARIABLE = "ADAQAT_DATA"
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Data:
    """Images (N x C x H x W, or N x F, float32) and labels (int64) of three disjoint splits.

    Labels are N, or N x H x W where every pixel has one.
    """

    name: str
    classes: int
    train: Pair
    validation: Pair
    test: Pair

    @property
    def channels(self) -> int:
        """Input channels."""
        return int(self.train[0].shape[1])


def _root(root: Path | None, name: str) -> Path:
    chosen = root or (Path(os.environ[ROOT_VARIABLE]) if ROOT_VARIABLE in os.environ else None)
    if chosen is None or not chosen.is_dir():
        raise UsageError(
            f"data: no folder for {name} ({chosen} found); a folder that torchvision "
            f"reads is needed; pass --data-root or set {ROOT_VARIABLE}"
        )
    return chosen


def _digits(root: Path | None) -> tuple[Pair, Pair | None, int]:
    return digits_pair(), None, 10


def _fashion_mnist(root: Path | None) -> tuple[Pair, Pair | None, int]:
    return _image_folder(
        "FashionMNIST",
        _root(root, "fashion_mnist"),
        lambda a: torch.as_tensor(a)[:, None].float() / 255,
    )


def _cifar10(root: Path | None) -> tuple[Pair, Pair | None, int]:
    # (u8 - 128) / 64 is exactly an 8-bit signed grid without zero point.
    return _image_folder(
        "CIFAR10",
        _root(root, "cifar10"),
        lambda a: (torch.as_tensor(a).permute(0, 3, 1, 2).float() - 128) / 64,
    )


def _image_folder(
    name: str, root: Path, convert: Callable[[object], Tensor]
) -> tuple[Pair, Pair, int]:
    torchvision()
    datasets = importlib.import_module("torchvision.datasets")
    pairs = []
    for train in (True, False):
        try:
            found = getattr(datasets, name)(root=str(root), train=train, download=False)
        except (RuntimeError, OSError) as error:
            raise UsageError(
                f"data: {name} not found or damaged in {root} ({error}); unpack it "
                "there as torchvision expects it"
            ) from error
        pairs.append((convert(found.data).contiguous(), torch.as_tensor(found.targets).long()))
    return pairs[0], pairs[1], 10


Loader = Callable[[Path | None], tuple[Pair, Pair | None, int]]
LOADERS: dict[str, Loader] = {
    "digits": _digits,
    "digits_vectors": lambda root: (digits_vectors(), None, 10),
    "digits_sequence": lambda root: (digits_sequence(), None, 10),
    "digits_scenes": lambda root: (*digits_scenes(), SCENE_CLASSES),
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
}


def load_data(
    name: str, root: Path | None = None, *, seed: int = 0, validation: float = 0.1
) -> Data:
    """Load and split.

    Args:
        name: ``digits`` (part of scikit-learn; `digits` has more forms of it), ``fashion_mnist``
            or ``cifar10``.
        root: folder of the image sets, default ``$ADAQAT_DATA``; nothing is downloaded.
        seed: of the split.
        validation: part of the training images; digits also set a fifth apart for testing.

    Raises:
        UsageError: an unknown name, or a missing or damaged folder.
    """
    if name not in LOADERS:
        raise UsageError(f"data: {name!r} found; {', '.join(LOADERS)} are supported")
    (images, labels), test, classes = LOADERS[name](root)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    if test is None:
        held = len(images) // 5
        test = (images[order[:held]], labels[order[:held]])
        order = order[held:]
    count = int(len(order) * validation)
    kept, chosen = order[count:], order[:count]
    return Data(name, classes, (images[kept], labels[kept]), (images[chosen], labels[chosen]), test)


def batches(
    pair: Pair, size: int, *, seed: int | None = None, augment: str = "none"
) -> Iterator[Pair]:
    """Mini-batches; shuffled (dropping the rest) when a seed is given.

    ``augment`` is ``none``, ``shift`` (up to a pixel in 8) or ``crop_flip`` (padded by 4 and
    flipped); it needs a seed.
    """
    images, labels = pair
    if seed is None:
        for start in range(0, len(images), size):
            yield images[start : start + size], labels[start : start + size]
        return
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    size = min(size, len(images))
    for start in range(0, len(images) - size + 1, size):
        index = order[start : start + size]
        yield _augment(images[index], augment, generator), labels[index]


def _augment(x: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    if kind == "none":
        return x
    if kind not in ("shift", "crop_flip"):
        raise UsageError(f"augment: {kind!r} found; none, shift and crop_flip are supported")
    count, _, height, width = x.shape
    pad = max(1, height // 8)
    fill = float(x.min())
    padded = torch.nn.functional.pad(x, (pad, pad, pad, pad), value=fill)
    top, left = torch.randint(0, 2 * pad + 1, (2, count), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, None, :]
    sample = torch.arange(count)[:, None, None, None]
    moved = padded[sample, torch.arange(x.shape[1])[None, :, None, None], rows, columns]
    if kind == "crop_flip":
        flip = torch.rand(count, generator=generator) < 0.5
        moved[flip] = moved[flip].flip(3)
    return moved
