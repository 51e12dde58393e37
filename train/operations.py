# SPDX-License-Identifier: Apache-2.0
"""Operations that mean the same on real tensors and on tensors of whole numbers."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from .records import Record


def out_first(record: Record, weight: Tensor) -> Tensor:
    """Weights of a record with output channels first: (O, I / groups, KH, KW) or (O, I).

    Transposed convolutions store (I, O / groups, KH, KW), sequences have no KH.
    """
    if record.kind == "linear":
        return weight
    if weight.dim() == 3:
        weight = weight.unsqueeze(2)
    if record.kind == "conv_transpose2d":
        groups = record.attrs["groups"]
        parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        weight = parts.transpose(1, 2).reshape(-1, weight.shape[0] // groups, *weight.shape[2:])
    return weight


def apply_weights(record: Record, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution or linear layer of a record, for float and for integer-valued tensors.

    ``weight`` has its output channels first (`out_first`).
    """
    if record.kind == "linear":
        return F.linear(x, weight, bias)
    attrs = record.attrs
    if record.kind == "conv_transpose2d":
        groups = attrs["groups"]
        parts = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
        stored = parts.reshape(-1, *parts.shape[2:])
        return F.conv_transpose2d(
            x, stored, bias, attrs["stride"], attrs["pad"][:2], attrs["out_pad"], groups,
            attrs["dilation"],
        )  # fmt: skip
    top, left, bottom, right = attrs["pad"]
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(
        x, weight, bias, attrs["stride"], (top, left), attrs["dilation"], attrs["groups"]
    )


def max_pool(record: Record, x: Tensor) -> Tensor:
    """Largest value of each window; padding never wins."""
    attrs = record.attrs
    pad = attrs["pad"]
    partial = pad[:2] != pad[2:]  # windows that hang over the end, as ceil_mode gives them
    return F.max_pool2d(x, attrs["kernel"], attrs["stride"], pad[:2], ceil_mode=partial)


def window_sum(record: Record, x: Tensor) -> Tensor:
    """Sum of each window of an average pool; padding counts as zero."""
    kernel = record.attrs["kernel"]
    if tuple(kernel) == tuple(x.shape[2:]) and not any(record.attrs["pad"]):
        return x.sum((2, 3), keepdim=True)
    return F.avg_pool2d(
        x, kernel, record.attrs["stride"], record.attrs["pad"][:2], divisor_override=1
    )


def move(record: Record, inputs: list[Tensor]) -> Tensor | None:
    """The result of a record that only moves values; None for the other kinds."""
    x, attrs = inputs[0], record.attrs
    match record.kind:
        case "concat":
            return torch.cat(inputs, 1)
        case "extremum":
            return reduce(torch.maximum if attrs["largest"] else torch.minimum, inputs)
        case "flatten":
            return x.reshape(len(x), *record.shape)
        case "maxpool2d":
            return max_pool(record, x)
        case "pad":
            top, left, bottom, right = attrs["pad"]
            return F.pad(x, (left, right, top, bottom, *attrs["channels"]))
        case "permute":
            return x.permute(0, *(axis + 1 for axis in attrs["axes"]))
        case "slice":
            keys = [
                slice(a, a + (n - 1) * d + 1, d)
                for a, n, d in zip(attrs["start"], record.shape, attrs["step"], strict=True)
            ]
            return x[(slice(None), *keys)]
        case "shuffle":
            parts = x.reshape(len(x), attrs["groups"], -1, *x.shape[2:])
            return parts.transpose(1, 2).reshape(x.shape)
        case "upsample_nearest":
            rows, columns = (
                torch.arange(out, device=x.device) * size // out
                for out, size in zip(attrs["size"], x.shape[2:], strict=True)
            )
            return x[:, :, rows][:, :, :, columns]
    return None


def bilinear_sum(record: Record, x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    """Weighted sums of a bilinear upsampling: ``rows @ x @ columns^T`` of whole numbers."""
    return weights[0] @ x @ weights[1].T
