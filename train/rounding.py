# SPDX-License-Identifier: Apache-2.0
"""Rounding to a grid with straight-through gradients.

Training spends its time here and in convolutions. A tensor with one scale is worked through in
pieces that stay in the processor's cache: seven passes over main memory become two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

PIECE = 1 << 16
"""Values per piece and thread: a quarter of a megabyte, a few of which fit a core's cache."""


class FakeQuant(torch.autograd.Function):
    """``scale * clamp(floor(x/scale + 0.5), lo, hi)``.

    Gradient to x: 1 between the limits, 0 outside. Gradient to the scale: LSQ (Esser et al., ICLR
    2020, eq. 3), or, with ``clip_only``, PACT (Choi et al., 2018): only where x was clipped.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, lo: float, hi: float, clip_only: bool
    ) -> Tensor:
        """See the class."""
        ctx.save_for_backward(x, scale)
        ctx.limits = (lo, hi, clip_only)
        out = torch.empty_like(x)
        for (part, result), one in _pieces([x, out], scale):
            q = _wide(result)  # the result itself, or a copy where it is too narrow to count in
            torch.div(_wide(part), one, out=q)
            q.add_(0.5).floor_().clamp_(lo, hi).mul_(one)
            if q is not result:
                result.copy_(q)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """See the class."""
        x, scale = ctx.saved_tensors
        lo, hi, clip_only = ctx.limits
        below, above = _outside(lo, hi)
        grad_x, total = torch.empty_like(x), None
        for (grad, part, result), one in _pieces([grads[0], x, grad_x], scale):
            grad, v, inside = _wide(grad), _wide(part) / one, _wide(result)
            # the open interval (below, above) is the closed one of the grid
            torch.ops.aten.hardtanh_backward.grad_input(grad, v, below, above, grad_input=inside)
            if inside is not result:
                result.copy_(inside)
            if ctx.needs_input_grad[1]:
                # sum(g * (q - v)) inside and sum(g * q) outside; PACT leaves the inside out
                inner = None if clip_only else _total(inside, v, scale)
                q = v.add_(0.5).floor_().clamp_(lo, hi)
                if inner is None:
                    inner = _total(inside, q, scale)
                piece = _total(grad, q, scale) - inner
                total = piece if total is None else total + piece
        return grad_x, total, None, None, None


def _wide(x: Tensor) -> Tensor:
    """At least float32: bfloat16 holds too few digits to tell grid points apart."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _outside(lo: float, hi: float) -> tuple[float, float]:
    """The nearest normal float32 numbers outside lo..hi."""
    tiny = float(np.finfo(np.float32).tiny)
    low, high = np.float32(lo), np.float32(hi)
    below = -tiny if low == 0 else float(np.nextafter(low, np.float32(-np.inf)))
    return below, float(np.nextafter(high, np.float32(np.inf)))


def _pieces(tensors: list[Tensor], scale: Tensor) -> list[tuple[tuple[Tensor, ...], Tensor]]:
    """Matching pieces of tensors of one shape, with the scale of each.

    The last tensor and those laid out like it are cut as they lie in memory; others are copied.
    """
    like = tensors[-1]
    if scale.numel() > 1 or like.device.type != "cpu" or like.numel() <= PIECE:
        return [(tuple(tensors), scale)]
    flat = [_flat(t, like) for t in tensors]
    size = PIECE * torch.get_num_threads()
    one = scale.reshape(())
    cut = [torch.split(t, size) for t in flat]
    return [(parts, one) for parts in zip(*cut, strict=True)]


def _flat(x: Tensor, like: Tensor) -> Tensor:
    """The values of ``x`` in the order in which ``like`` holds its own in memory."""
    if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).reshape(-1)
    return x.reshape(-1)


def _total(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """Sum of a*b down to the scale's shape; one pass and no temporary for a single number."""
    if scale.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(scale.shape)
    return (a * b).sum_to_size(scale.shape)


class Substitute(torch.autograd.Function):
    """Another tensor's values, with the gradient passed to the first tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor) -> Tensor:
        """See the class."""
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """See the class."""
        return grads[0], None


class Binary(torch.autograd.Function):
    """``scale * (+1 if w >= 0 else -1)``; the gradient passes where ``|w| <= scale``."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, scale: Tensor) -> Tensor:
        """See the class."""
        sign = torch.where(w >= 0, 1.0, -1.0)
        ctx.save_for_backward(sign, w.abs() <= scale)
        ctx.shape = scale.shape
        return sign * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        sign, inside = ctx.saved_tensors
        return grads[0] * inside, (grads[0] * sign).sum_to_size(ctx.shape)


def fake_quant(
    x: Tensor, scale: Tensor, lo: float, hi: float, *, clip_only: bool = False
) -> Tensor:
    """Apply `FakeQuant`."""
    out: Tensor = FakeQuant.apply(x, scale, lo, hi, clip_only)  # type: ignore[no-untyped-call]
    return out
