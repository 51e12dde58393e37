# SPDX-License-Identifier: Apache-2.0
"""A float ResNet whose function is that of a deployed model's, to begin a training with.

    python benchmarks/dequantised.py MODEL.adaqat --data-root FOLDER -o start.safetensors

A weight of channel c becomes ``S_out * m[c] * 2^(p - s[c]) / S_in`` times its integer, so weights,
BatchNorm's scale and both quantisers' scales are in it. BatchNorm's statistics are measured on
training images, and its scale and shift set so that it changes nothing but adds the bias.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adaqat.deploy.graph import Graph
from adaqat.deploy.model_file import load
from adaqat.deploy.ops.weighted import WeightedOp
from adaqat.train.data import batches, load_data
from adaqat.train.models import build_model

STATISTICS = 2048
"""Images BatchNorm's statistics are measured on."""


def real_weights(graph: Graph) -> dict[str, tuple[Tensor, Tensor]]:
    """Module name -> weights (OIHW or OI) and bias (O) in real units."""
    infos = {node.name: node.output for node in graph.nodes}
    found = {}
    for node in graph.nodes:
        if not isinstance(node.op, WeightedOp):
            continue
        rule, scale = node.op.requant, infos[node.name].scale
        ratio = scale * rule.m * 2.0 ** -rule.s.astype(np.float64)
        values = node.op.weights.values.astype(np.float64)
        values *= (ratio * 2.0**rule.p / infos[node.inputs[0]].scale).reshape(
            -1, *[1] * (values.ndim - 1)
        )
        if values.ndim == 4:
            values = values.transpose(0, 3, 1, 2)
        bias = ratio * rule.bias
        found[node.source] = (
            torch.from_numpy(np.ascontiguousarray(values)).float(),
            torch.from_numpy(bias).float(),
        )
    return found


def fill(model: nn.Module, weights: dict[str, tuple[Tensor, Tensor]], images: Tensor) -> None:
    """Put weights into ``model``'s convolutions and linear layers and set its BatchNorms."""
    modules = dict(model.named_modules())
    for name, (values, bias) in weights.items():
        layer: Any = modules[name]
        layer.weight.data.copy_(values)
        if layer.bias is not None:
            layer.bias.data.copy_(bias)
            continue
        norm: Any = modules[name.replace("conv", "bn")]
        norm.register_forward_pre_hook(_measure(bias))
    with torch.no_grad():
        model.eval()(images)
    for module in modules.values():
        module._forward_pre_hooks.clear()


def _measure(bias: Tensor) -> Any:
    def hook(norm: Any, inputs: tuple[Tensor]) -> None:
        var, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.data.copy_(torch.sqrt(var + norm.eps))
        norm.bias.data.copy_(mean + bias)

    return hook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--network", default="resnet8")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    data = load_data("cifar10", options.data_root)
    model = build_model(options.network, data.channels, data.classes)
    fill(model, real_weights(load(options.model)), data.train[0][:STATISTICS])
    with torch.no_grad():
        right = sum(
            int((model(x).argmax(1) == y).sum()) for x, y in batches(data.validation, STATISTICS)
        )
    print(f"{right / len(data.validation[1]):.2%} of the validation images right")
    save_file(model.state_dict(), options.out)


if __name__ == "__main__":
    main()
