# SPDX-License-Identifier: Apache-2.0
"""Operations that mean the same on real tensors and on tensors of whole numbers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .records import Record


def apply_weights(record: Record, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution or linear layer of a record, for float and for integer-valued tensors."""
    if record.kind == "linear":
        return F.linear(x, weight, bias)
    top, left, bottom, right = record.attrs["pad"]
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(
        x,
        weight,
        bias,
        record.attrs["stride"],
        (top, left),
        record.attrs["dilation"],
        record.attrs["groups"],
    )


def max_pool(record: Record, x: Tensor) -> Tensor:
    """Largest value of each window; padding never wins."""
    return F.max_pool2d(x, record.attrs["kernel"], record.attrs["stride"], record.attrs["pad"][:2])


def window_sum(record: Record, x: Tensor) -> Tensor:
    """Sum of each window of an average pool; padding counts as zero."""
    kernel = record.attrs["kernel"]
    if tuple(kernel) == tuple(x.shape[2:]) and not any(record.attrs["pad"]):
        return x.sum((2, 3), keepdim=True)
    return F.avg_pool2d(
        x, kernel, record.attrs["stride"], record.attrs["pad"][:2], divisor_override=1
    )
