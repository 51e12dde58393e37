# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation of a prepared network, with control over its statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from . import ranks
from .records import BatchNorm

if TYPE_CHECKING:
    from .module import QuantModule


def batch_norm(module: QuantModule, bn: BatchNorm | None, x: Tensor) -> Tensor:
    """Normalise ``x`` as ``module.stats`` says; the statistics of all ranks' batches together."""
    if bn is None:
        return x
    weight = None if bn.weight is None else module.tensor(bn.weight)
    bias = None if bn.bias is None else module.tensor(bn.bias)
    batch = module.training and module.stats in ("probe", "update")
    update = module.training and module.stats == "update"
    mean, var, momentum = module.tensor(bn.mean), module.tensor(bn.var), bn.momentum
    if update and bn.counter is not None:
        counter = module.tensor(bn.counter)
        counter.add_(1)
        momentum = 1.0 / float(counter) if momentum is None else momentum
    momentum = momentum or 0.0
    if batch and ranks.size() > 1:
        out, new_mean, new_var = ranks.batch_norm(x, weight, bias, bn.eps)
        if update:
            mean.lerp_(new_mean, momentum)
            var.lerp_(new_var, momentum)
        return out
    if batch and not update:
        return F.batch_norm(x, None, None, weight, bias, True, 0.0, bn.eps)
    return F.batch_norm(x, mean, var, weight, bias, batch, momentum, bn.eps)
