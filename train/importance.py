# SPDX-License-Identifier: Apache-2.0
"""Ranks the channels of prunable sets by what they contribute to the layers that read them.

A channel's contribution to a layer is the mean square of what it carries times the square of the
weights that read it: the power that the layer's sums lose without it. Shares of every reading layer
are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .operations import out_first
from .records import WEIGHTED, Record

if TYPE_CHECKING:
    from .module import QuantModule


@torch.no_grad()
def rank_channels(module: QuantModule, power: Mapping[str, Tensor]) -> None:
    """Set the ranks of every prunable set.

    Args:
        module: being calibrated.
        power: mean square per channel (or feature) of every tensor with a grid, by record.
    """
    plan = module.channels
    if plan is None:
        return
    total = {
        name: torch.zeros(one.count, dtype=torch.float64, device=one.rank.device)
        for name, one in plan.sets.items()
    }
    for record in module.network.records:
        if record.kind not in WEIGHTED or record.attrs.get("groups", 1) > 1:
            continue
        share = _power(module, record.inputs[0], power) * _reading(module, record)
        share = share / share.sum().clamp_min(1e-30)
        start = 0
        for segment in plan.segments[record.inputs[0]]:
            size = segment.count * segment.repeat
            if segment.set is not None:
                part = share[start : start + size].reshape(segment.count, segment.repeat)
                total[segment.set] += part.sum(1)
            start += size
    for name, one in plan.sets.items():
        order = total[name].argsort(descending=True, stable=True)
        one.rank[order] = torch.arange(one.count, device=order.device)


def _reading(module: QuantModule, record: Record) -> Tensor:
    """Sum of the squared weights by input channel (or feature)."""
    assert record.weight is not None
    weight = out_first(record, module.tensor(record.weight)).double().square()
    dims = [d for d in range(weight.dim()) if d != 1]
    return weight.sum(dims)


def _power(module: QuantModule, name: str, power: Mapping[str, Tensor]) -> Tensor:
    """Mean square per channel of a tensor; what moves values passes its input's on."""
    if name in power:
        return power[name]
    record = module.records[name]
    parts = [_power(module, source, power) for source in record.inputs]
    if record.kind == "concat":
        return torch.cat(parts)
    features, known = record.channels, parts[0]
    # a flattened map has a feature per pixel; other moves keep the channels
    return known.repeat_interleave(max(1, features // len(known)))[:features]
