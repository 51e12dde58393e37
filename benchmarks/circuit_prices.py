# SPDX-License-Identifier: Apache-2.0
"""LUTs and block memories as training prices them, against what deployment predicts.

    python benchmarks/circuit_prices.py [--model digits_resnet] [--target fpga-ice40] [--rate 1000]

Five uniform assignments of widths and three random ones; deployment folds each anew.
"""

from __future__ import annotations

import argparse
import random

import torch

from adaqat.deploy import lower
from adaqat.deploy.rtl.cost import design_resources
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.folding import choose_folds
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.schedule import with_deep_queues
from adaqat.deploy.targets import get
from adaqat.hw_models import load_fabric
from adaqat.train import calibrate, prepare
from adaqat.train.bits import override
from adaqat.train.circuits import circuit_cost
from adaqat.train.models import build_model

IMAGES = {"digits_resnet": (1, 8), "resnet8": (3, 32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(IMAGES), default="digits_resnet")
    parser.add_argument("--target", default="fpga-ice40")
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    channels, size = IMAGES[options.model]
    x = torch.rand(8, channels, size, size)
    model = build_model(options.model, channels, 10).train()
    model(x)
    module = prepare(model.eval(), x)
    calibrate(module, [x])
    cost = circuit_cost(module, options.target, options.rate)
    fabric, target = load_fabric(options.target), get(options.target)
    goals = Goals(fabric.clock_mhz, int(fabric.clock_mhz * 1e6 / options.rate))
    free = [w for w in module.widths if not w.fixed]
    draw = random.Random(1)
    cases = {f"all {bits}": dict.fromkeys(free, bits) for bits in (8, 6, 4, 3, 2)}
    cases |= {f"random {i}": {w: draw.randint(2, 8) for w in free} for i in range(3)}
    print("| widths | LUT in training | at deployment | | memories in training | at deployment |")
    print("|---|---|---|---|---|---|")
    for name, bits in cases.items():
        with override(bits):
            graph = lower(module, x[:2])
        design = lay_out(graph, target, "net", choose_folds(graph, target, goals))
        found = design_resources(with_deep_queues(design), fabric)
        lut = cost.total("lut", bits)
        print(
            f"| {name} | {lut:.0f} | {found.lut:.0f} | {lut / found.lut - 1:+.1%} "
            f"| {cost.total('bram', bits):.0f} | {found.bram} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
