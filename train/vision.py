# SPDX-License-Identifier: Apache-2.0
"""torchvision, wherever it can be imported at all."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

from ..deploy.errors import UsageError


def torchvision() -> ModuleType:
    """torchvision, also beside a CPU torch whose operators its compiled part does not match."""
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise UsageError(
            "data: torchvision is not installed; it loads this data set; install "
            "adaqat-deploy[train]"
        ) from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    # Only data sets and plain modules are used: declaring the two operators that its import
    # registers is enough.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{operator}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )
    return importlib.import_module("torchvision")
