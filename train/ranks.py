# SPDX-License-Identifier: Apache-2.0
"""What several processes (``torchrun``) must agree on; with one process everything is local.

Every rank draws the same global batch and works on its share of it. Batch statistics, losses and
probe signals are averages over all ranks, so that widths are those of one process with the same
global batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..deploy.errors import UsageError


def start(device: torch.device) -> bool:
    """Join the other processes of ``torchrun``; False where there are none or it is done."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return False
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return True


def stop() -> None:
    """Leave them."""
    dist.destroy_process_group()


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process; 0 writes files."""
    return dist.get_rank() if size() > 1 else 0


def mean(value: float) -> float:
    """Average over ranks, the same number on each: summed in one fixed order."""
    if size() == 1:
        return value
    # nccl gathers what lies on the GPU of this process
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    own = torch.tensor(value, dtype=torch.float64, device=device)
    parts = [torch.zeros_like(own) for _ in range(size())]
    dist.all_gather(parts, own)
    return sum(float(part) for part in parts) / size()


def barrier() -> None:
    """Wait for the others."""
    if size() > 1:
        dist.barrier()


def share(x: Tensor) -> Tensor:
    """This rank's part of a global batch."""
    count = size()
    if count == 1:
        return x
    if len(x) % count:
        raise UsageError(
            f"batch: {len(x)} samples for {count} processes; a multiple is needed; change "
            "data.batch"
        )
    return x.chunk(count)[rank()]


def spread(module: nn.Module) -> nn.Module:
    """A module whose gradients are averages over ranks; itself where there is one process."""
    if size() == 1:
        return module
    # statistics are averages over ranks already, so nothing is broadcast
    return nn.parallel.DistributedDataParallel(
        module, broadcast_buffers=False, find_unused_parameters=True
    )


@contextmanager
def global_statistics(model: nn.Module) -> Iterator[None]:
    """Let the BatchNorm layers of a plain network use the statistics of the global batch."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)] if size() > 1 else []
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    if not layer.training:
        return type(layer).forward(layer, x)
    out, mean, var = batch_norm(x, layer.weight, layer.bias, layer.eps)
    if layer.running_mean is not None and layer.running_var is not None:
        assert layer.num_batches_tracked is not None
        layer.num_batches_tracked.add_(1)
        momentum = layer.momentum
        if momentum is None:
            momentum = 1.0 / float(layer.num_batches_tracked)
        layer.running_mean.lerp_(mean, momentum)
        layer.running_var.lerp_(var, momentum)
    return out


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(normalised, mean, unbiased variance) with the statistics of the global batch.

    The shares of all ranks are equally large.
    """
    from torch.distributed.nn.functional import all_reduce

    dims = [d for d in range(x.dim()) if d != 1]
    shape = (1, -1, *[1] * (x.dim() - 2))
    count = x.numel() // x.shape[1] * size()
    average: Tensor = all_reduce(x.sum(dims)) / count  # type: ignore[no-untyped-call]
    centred = x - average.reshape(shape)
    var: Tensor = all_reduce(centred.square().sum(dims)) / count  # type: ignore[no-untyped-call]
    out = centred * torch.rsqrt(var + eps).reshape(shape)
    if weight is not None:
        out = out * weight.reshape(shape)
    if bias is not None:
        out = out + bias.reshape(shape)
    return out, average.detach(), var.detach() * (count / max(count - 1, 1))
