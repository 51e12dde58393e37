# SPDX-License-Identifier: Apache-2.0
"""What ends a classifier: softmax and argmax over the channels, read and computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from .nodes import Call, Unsupported, is_sequence, real_shape, shape_of
from .records import Record

LARGEST = 256
"""Classes of an argmax, whose index has 8 bits."""
SOFTMAX_ONE = 1 << 15
"""The exponential of 0 in the table of a softmax."""


def _over_channels(inp: fx.Node, dim: Any, what: str) -> None:
    shape = real_shape(inp)
    assert shape is not None
    if not isinstance(dim, int | float) or int(dim) % len(shape) != 1 or len(shape) < 2:
        raise Unsupported(
            f"{what} over dimension {dim} of {shape}; the channels (dim=1) are supported; move the"
            " classes there"
        )


def make_softmax(inp: fx.Node, dim: Any) -> Call:
    """Softmax over channels or features."""
    _over_channels(inp, dim, "softmax")
    return Call("softmax", [inp])


def make_argmax(node: fx.Node, inp: fx.Node, dim: Any, keep: Any) -> Call:
    """Index of the largest channel, as the end of the network."""
    _over_channels(inp, dim, "argmax")
    shape = shape_of(inp)
    assert shape is not None
    if shape[1] > LARGEST or any(user.op != "output" for user in node.users):
        raise Unsupported(
            f"argmax of {shape[1]} classes, or inside the network; up to {LARGEST}, as the output,"
            " are supported; search outside the network"
        )
    attrs = {"shape": (1, *shape[2:]), "keep": bool(keep), "sequence": is_sequence(inp)}
    return Call("argmax", [inp], attrs)


def scores(record: Record, x: Tensor) -> Tensor:
    """Softmax, or the first index of the largest channel, of real values."""
    return x.softmax(1) if record.kind == "softmax" else first_largest(x)


def first_largest(x: Tensor) -> Tensor:
    """Index of the first of the largest channels; torch.argmax leaves open which of them."""
    index = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
    index = index.reshape(1, -1, *[1] * (x.dim() - 2))
    largest = x == x.amax(1, keepdim=True)
    return torch.where(largest, index, float(LARGEST)).amin(1, keepdim=True)


def whole_softmax(codes: Tensor, table: Tensor, bits: int) -> Tensor:
    """Softmax of whole numbers: shares of 2^bits of the table's exponentials, float64."""
    e = table[0][(codes.amax(1, keepdim=True) - codes).long()]
    total = e.sum(1, keepdim=True)
    # both sides are whole and far below 2^53: a quotient is never rounded up to a whole number
    share = torch.floor((e * 2.0**bits + torch.floor(total / 2)) / total)
    return share.clamp(max=2.0**bits - 1)
