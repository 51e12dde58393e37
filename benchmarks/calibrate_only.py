# SPDX-License-Identifier: Apache-2.0
"""Accuracy of integer networks that were calibrated and never trained (post-training quantisation).

    python benchmarks/calibrate_only.py digits
    python benchmarks/calibrate_only.py cifar10 --float FLOAT.safetensors --data-root FOLDER

``digits`` trains its float network first (seconds); for CIFAR-10 one is given, as ``adaqat-train``
leaves it in a run. Every accuracy of integers is that of exact mode on the whole test set.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from adaqat.train import calibrate, exact, prepare
from adaqat.train.checkpoint import load_weights
from adaqat.train.data import Data, batches, load_data
from adaqat.train.models import build_model

WIDTHS = ((8, 8), (6, 8), (5, 5), (4, 8), (4, 4))
MODELS = {"digits": "digits_resnet", "cifar10": "resnet8"}


def accuracy(network: nn.Module, data: Data) -> float:
    right = 0
    with torch.no_grad():
        for x, y in batches(data.test, 250):
            right += int((network(x).argmax(1) == y).sum())
    return 100 * right / len(data.test[1])


def trained(model: nn.Module, data: Data, epochs: int) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        for x, y in batches(data.train, 64, seed=epoch, augment="shift"):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=MODELS)
    parser.add_argument("--float", type=Path, help="weights of the float network")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("ADAQAT_DATA"))
    parser.add_argument("--images", type=int, default=500, help="training images that calibrate")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load_data(arguments.data, arguments.data_root)
    model = build_model(MODELS[arguments.data], data.channels, data.classes)
    if arguments.float:
        load_weights(arguments.float, model)
        model.eval()
    else:
        model = trained(model, data, 30)
    seen = data.train[0][: arguments.images]
    print(f"{arguments.data}: float {accuracy(model, data):.2f} % of {len(data.test[1])} images")
    print(f"calibrated on {len(seen)} training images; no training step")
    print("| weights | activations | accuracy % | against float |")
    print("|---|---|---|---|")
    whole = accuracy(model, data)
    for weight_bits, act_bits in WIDTHS:
        module = prepare(model, seen[:2], weight_bits=weight_bits, act_bits=act_bits)
        calibrate(module, [seen[i : i + 100] for i in range(0, len(seen), 100)])
        found = accuracy(exact(module.eval()), data)
        print(f"| {weight_bits} | {act_bits} | {found:.2f} | {found - whole:+.2f} |", flush=True)


if __name__ == "__main__":
    main()
