# SPDX-License-Identifier: Apache-2.0
"""Where a run computes: the processor, or a GPU where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..deploy.errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device of this process: ``cpu``, ``cuda``, or ``auto`` for the GPU where there is one.

    Each process of ``torchrun`` takes the GPU of its own number. Convolutions are told to repeat
    themselves: the same seed gives the same weights on the same GPU.

    Raises:
        UsageError: a GPU is wanted and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device: 'cuda' found, but PyTorch sees no GPU here; 'auto' and 'cpu' are supported "
            "everywhere; install a PyTorch with CUDA or change it"
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(index)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda", index)


def breaks_channels_last(model: nn.Module) -> bool:
    """Whether a network must keep PyTorch's usual layout on a processor.

    oneDNN 3.12 (PyTorch 2.13) writes past its buffers in the backward pass of strided 1x1
    convolutions of fewer than 8 channels laid out channels last, and the process dies.
    """
    return any(
        isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1)
        and m.in_channels < 8
        for m in model.modules()
    )  # fmt: skip


def emulates_bf16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are computed without instructions for them, and slower."""
    if device.type != "cpu":
        return False
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters lie."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


@contextmanager
def whole_sums(device: torch.device) -> Iterator[None]:
    """Sums of whole numbers stay whole numbers inside.

    Under autocast they would be bfloat16. On a GPU, cuDNN may transform a convolution (Winograd,
    FFT) or round its inputs (TF32); without it, convolutions are matrix products.
    """
    with torch.autocast(device.type, enabled=False):
        if device.type == "cpu":
            yield
        else:
            with torch.backends.cudnn.flags(enabled=False):
                yield


def random_state(device: torch.device) -> dict[str, Tensor]:
    """States of the generators that training draws from, for a checkpoint."""
    found = {"random": torch.get_rng_state()}
    if device.type == "cuda":
        found["random_gpu"] = torch.cuda.get_rng_state(device)
    return found


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(state["random"])
    if device.type == "cuda" and "random_gpu" in state:
        torch.cuda.set_rng_state(state["random_gpu"], device)
