# SPDX-License-Identifier: Apache-2.0
"""Ranges of least squared error for every width, by search over clip ratios."""

from __future__ import annotations

import torch
from torch import Tensor

from .bits import MAX_BITS

WEIGHT_RATIOS = torch.linspace(0.15, 1.0, 18)
ACT_RATIOS = torch.linspace(0.05, 1.0, 39)
ROW_SAMPLE = 1024
"""Weights of a row that the search looks at; longer rows are thinned evenly."""


@torch.no_grad()
def weight_ranges(weight: Tensor) -> Tensor:
    """Range of least squared error per row and width: ``[C, K]`` -> ``[C, 9]``, column = bits."""
    top = weight.abs().amax(dim=1)
    # A dead row takes the range of the others: a tiny one would break the integer rule.
    top = torch.where(top < 1e-8, top.max().clamp_min(1e-2), top)
    weight = weight[:, :: max(1, weight.shape[1] // ROW_SAMPLE)]
    columns = [top, weight.abs().mean(dim=1).clamp_min(1e-8)]  # column 0 is unused
    for bits in range(2, MAX_BITS + 1):
        half = 2 ** (bits - 1)
        scale = (top[:, None] * WEIGHT_RATIOS.to(top)) / (half - 0.5)
        grid = torch.floor(weight[:, None] / scale[..., None] + 0.5).clamp_(-half, half - 1)
        error = (grid * scale[..., None] - weight[:, None]).square().sum(dim=2)
        best = error.argmin(dim=1, keepdim=True)
        columns.append(scale.gather(1, best)[:, 0] * half)
    return torch.stack(columns, dim=1)


@torch.no_grad()
def act_ranges(sample: Tensor, signed: bool) -> Tensor:
    """Range of least squared error for each width: ``[9]``, index = bits."""
    values = sample.flatten().float()
    top = values.abs().max()
    if float(top) < 1e-6:  # a dead tensor: any range will do, a tiny one breaks the integer rule
        top = torch.ones_like(top)
    ranges = [top]
    for bits in range(1, MAX_BITS + 1):
        lo, hi = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        levels = 2 ** (bits - 1) if signed else hi
        scale = top * ACT_RATIOS.to(top)[:, None] / levels
        grid = torch.floor(values / scale + 0.5).clamp_(lo, hi)
        error = (grid * scale - values).square().sum(dim=1)
        ranges.append(top * ACT_RATIOS[int(error.argmin())])
    return torch.stack(ranges)
