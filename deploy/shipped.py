# SPDX-License-Identifier: Apache-2.0
"""The small trained digits network that ships with the package, and its test images."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from .errors import UsageError
from .types import IntArray

MODEL = "models/digits.adaqat"
TEST_SPLIT = "models/digits_test.npz"
"""Arrays ``codes`` [N, H, W, C], in the model's input type, and ``labels`` [N]."""


def shipped_model() -> Path:
    """Path of the model file.

    Raises:
        UsageError: this build holds none.
    """
    return _part(MODEL)


def shipped_test_split() -> tuple[IntArray, IntArray]:
    """(codes, labels) of the whole test split, images the model never trained on.

    Raises:
        UsageError: this build holds none.
    """
    with np.load(_part(TEST_SPLIT), allow_pickle=False) as arrays:
        return arrays["codes"], arrays["labels"]


def _part(name: str) -> Path:
    path = Path(str(files(__package__).joinpath(name)))
    if not path.is_file():
        raise UsageError(
            f"{name}: not part of this build; released packages hold the digits network; give the"
            " path of a model of your own"
        )
    return path
