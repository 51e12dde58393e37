# SPDX-License-Identifier: Apache-2.0
"""The controller as a callback of Lightning (extra ``lightning``).

    trainer = lightning.Trainer(callbacks=[AdaQATCallback(controller, loss_of)])

The LightningModule holds the prepared network and trains as usual, with automatic optimisation.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..deploy.errors import UsageError
from .controller import AdaQAT
from .vision import torchvision

try:
    importlib.import_module("torchmetrics")  # of Lightning; it imports torchvision
except ImportError:
    pass
except RuntimeError:
    torchvision()
try:
    from lightning.pytorch import Callback
except ImportError as error:
    raise UsageError(
        "lightning: the package is not installed; the callback needs it; install "
        "adaqat-deploy[lightning]"
    ) from error


class AdaQATCallback(Callback):  # type: ignore[misc]
    """Moves the widths after every backward pass.

    Args:
        controller: of the prepared network inside the LightningModule.
        loss_of: (LightningModule, batch) -> (loss, output), without logging; run for probes.
    """

    def __init__(
        self, controller: AdaQAT, loss_of: Callable[[Any, Any], tuple[Tensor, Tensor]]
    ) -> None:
        self.controller, self.loss_of = controller, loss_of
        self._batch: Any = None

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch for the probes."""
        self._batch = batch

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """One step of the controller, gradients being ready and weights not yet moved."""
        batch = self._batch
        with torch.no_grad():
            self.controller.step(lambda: self.loss_of(pl_module, batch))

    def state_dict(self) -> dict[str, Any]:
        """The controller's state goes into Lightning's checkpoint; the module holds the widths."""
        return self.controller.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self.controller.load_state(state_dict)
