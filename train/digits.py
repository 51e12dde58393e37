# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's handwritten digits (1797 of 8 x 8 pixels) in the forms that the networks take."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
SIDE = 16
"""Height and width of a scene."""
SCENES = (1200, 300)
"""Scenes for training and for testing."""
HELD = 360
"""Digits that only test scenes show."""
SCENE_CLASSES = 3
"""Background, strokes of even digits, strokes of odd ones."""
CLUTTER = 0.35
"""Largest value of the noise behind the digits."""


def digits_pair() -> Pair:
    """Images N x 1 x 8 x 8 in 0..1 and classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images.astype(np.float32))[:, None] / 16
    return images, torch.from_numpy(digits.target).long()


def digits_vectors() -> Pair:
    """The same as N x 64 features."""
    images, labels = digits_pair()
    return images.flatten(1), labels


def digits_sequence() -> Pair:
    """The same as N x 1 x 1 x 64: pixel after pixel, row after row."""
    images, labels = digits_pair()
    return images.reshape(len(images), 1, 1, 64), labels


def digits_scenes() -> tuple[Pair, Pair]:
    """Two digits on a noisy ground, N x 1 x 16 x 16, with a class for every pixel.

    One digit lies in the left half, one in the right. The scenes are always the same; digits of
    test scenes are in no training scene.
    """
    images, labels = digits_pair()
    random = torch.Generator().manual_seed(16)
    order = torch.randperm(len(images), generator=random)
    pools = order[HELD:], order[:HELD]
    train, test = (
        _scenes(images[pool, 0], labels[pool], count, random)
        for pool, count in zip(pools, SCENES, strict=True)
    )
    return train, test


def _scenes(images: Tensor, labels: Tensor, count: int, random: torch.Generator) -> Pair:
    scenes = torch.rand(count, SIDE, SIDE, generator=random) * CLUTTER
    classes = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    height = images.shape[1]
    for half in range(2):
        chosen = torch.randint(len(images), (count,), generator=random)
        top = torch.randint(SIDE - height + 1, (count,), generator=random)
        rows = (top[:, None] + torch.arange(height))[:, :, None]
        columns = (half * height + torch.arange(height))[None, None, :]
        sample = torch.arange(count)[:, None, None]
        stroke = images[chosen]
        scenes[sample, rows, columns] = torch.maximum(scenes[sample, rows, columns], stroke)
        kind = (1 + labels[chosen] % 2)[:, None, None]
        classes[sample, rows, columns] = torch.where(stroke > 0.5, kind, 0)
    return scenes[:, None].contiguous(), classes
