# SPDX-License-Identifier: Apache-2.0
"""The network without its pruned channels: smaller weights, the same integers.

A pruned channel holds zero in every tensor, and a layer that reads it adds weights times zero. The
smaller network leaves both out. It alone is snapped to integers, so that what exact mode computes,
what is lowered and what the cost table prices is one network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .quantizers import LsqWeights, WeightQuantizer
from .records import Record

if TYPE_CHECKING:
    from .module import QuantModule


def shrunk(module: QuantModule) -> QuantModule:
    """The module without pruned channels; itself where nothing is pruned.

    Quantisers of activations and widths are shared with the module, parameters are copies without
    gradients.
    """
    plan = module.channels
    if plan is None or plan.whole:
        return module
    kept = {record.name: kept_index(module, record.name) for record in module.network.records}
    holder = nn.Module()
    weights: dict[str, WeightQuantizer] = {}
    records = []
    for record in module.network.records:
        own = kept[record.name]
        source = kept[record.inputs[0]] if record.inputs else own
        attrs = dict(record.attrs)
        if record.depthwise:
            attrs["groups"] = len(own)
        if "in" in attrs:
            attrs["in"] = len(source)
        records.append(replace(record, shape=(len(own), *record.shape[1:]), attrs=attrs))
        if record.weight is not None:
            tensor = module.tensor(record.weight).detach()
            _put(holder, record.weight, _cut(record, tensor, own, source), True)
            quantizer = module.weight_quantizer(record)
            assert isinstance(quantizer, LsqWeights)
            weights[record.weight] = quantizer.rows(own)
        paths: list[tuple[str | None, bool]] = [(record.bias, True)]
        if record.bn is not None:
            bn = record.bn
            paths += [(bn.weight, True), (bn.bias, True), (bn.mean, False), (bn.var, False)]
            if bn.counter is not None:
                _put(holder, bn.counter, module.tensor(bn.counter), False)
        for path, parameter in paths:
            if path is not None:
                _put(holder, path, module.tensor(path).detach()[own], parameter)
        if "slopes" in attrs:  # such channels all stay
            _put(holder, attrs["slopes"], module.tensor(attrs["slopes"]).detach(), True)
    small = type(module)(
        holder,
        replace(module.network, records=tuple(records)),
        module.grids,
        {w.name: w for w in module.widths if w.kind != "channels"},
        weights,
        {grid: module.act_quantizer(grid) for grid in dict.fromkeys(module.grids.values())},
        module.reasons,
    )
    small.input_signed = module.input_signed
    small.granularity = module.granularity
    small.target = module.target
    small.train(module.training)
    return small


def kept_index(module: QuantModule, name: str) -> Tensor:
    """Positions of the channels (or features) of a record that stay, ascending."""
    assert module.channels is not None
    mask = module.channels.mask(name)
    if mask is None:
        return torch.arange(module.records[name].channels)
    return mask.nonzero()[:, 0]


def _cut(record: Record, weight: Tensor, own: Tensor, source: Tensor) -> Tensor:
    """The weights, in the user's layout, of the channels that stay."""
    if record.kind == "conv_transpose2d":
        groups = record.attrs["groups"]
        return weight if groups > 1 else weight[source][:, own]
    grouped = record.attrs.get("groups", 1) > 1
    return weight[own] if grouped else weight[own][:, source]


def _put(root: nn.Module, path: str, tensor: Tensor, parameter: bool) -> None:
    """Give ``root`` a parameter or buffer at a dotted path."""
    *parents, name = path.split(".")
    owner = root
    for part in parents:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        child = owner._modules[part]
        assert child is not None
        owner = child
    if parameter:
        owner.register_parameter(name, nn.Parameter(tensor.clone(), requires_grad=False))
    else:
        owner.register_buffer(name, tensor.clone())
