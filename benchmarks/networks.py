# SPDX-License-Identifier: Apache-2.0
"""Whole networks of the MLPerf Tiny shapes on emulated cores: instructions, cycles, code, memory.

    python benchmarks/networks.py --target cortex-m4 --bits 8x8,4x8,2x4

Weights are random and ranges calibrated on random inputs: cost depends on shapes and widths, and on
the data only through clamps. Every tensor is compared with the simulator before it is counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from itertools import pairwise

import torch
from torch import nn

from adaqat.deploy import Graph, Report, lower, verify
from adaqat.deploy.vectors import make_inputs
from adaqat.train import calibrate, prepare
from adaqat.train.models import build_model


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int],
          pad: tuple[int, int], groups: int = 1) -> nn.Sequential:  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(inputs, inputs, (3, 3), (stride, stride), (1, 1), inputs),
        _conv(inputs, outputs, (1, 1), (1, 1), (0, 0)),
    )


def ds_cnn() -> nn.Module:
    """Keyword spotting: 49x10 MFCC, 64 channels, four separable blocks."""
    return nn.Sequential(
        _conv(1, 64, (10, 4), (2, 2), (5, 1)),
        *[_separable(64, 64, 1) for _ in range(4)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12),
    )  # fmt: skip


def mobilenet_v1_quarter() -> nn.Module:
    """Visual wake words: 96x96, width 0.25, none of its channels pruned."""
    widths = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2),
              *[(128, 128, 1)] * 5, (128, 256, 2), (256, 256, 1)]  # fmt: skip
    return nn.Sequential(
        _conv(3, 8, (3, 3), (2, 2), (1, 1)),
        *[_separable(*width) for width in widths],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2),
    )  # fmt: skip


def autoencoder() -> nn.Module:
    """Anomaly detection: 640-128x4-8-128x4-640."""
    sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 640))


NETWORKS = {
    "resnet8": (lambda: build_model("resnet8", 3, 10), (3, 32, 32)),
    "ds_cnn": (ds_cnn, (1, 49, 10)),
    "mobilenet_v1_0.25": (mobilenet_v1_quarter, (3, 96, 96)),
    "autoencoder": (autoencoder, (640,)),
}


def graph_of(name: str, widths: str) -> Graph:
    """The network with random weights, lowered at ``widths``.

    Args:
        name: of `NETWORKS`.
        widths: "4x8" for uniform weight x activation bits, "mixed7" for widths of 2 to 8 bits
            drawn layer by layer from seed 7.
    """
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    inputs = torch.rand(8, *shape)
    mixed = widths.startswith("mixed")
    weight_bits, act_bits = (8, 8) if mixed else (int(part) for part in widths.split("x"))
    module = prepare(make(), inputs, weight_bits=weight_bits, act_bits=act_bits, min_bits=1)
    if mixed:
        drawn = random.Random(int(widths.removeprefix("mixed")))
        for width in module.widths:
            if not width.fixed:
                width.n = float(drawn.randint(2, 8))
    calibrate(module, [inputs])
    return lower(module.eval(), inputs[:1], name=name)


def _row(name: str, pair: str, setting: str, report: Report) -> str:
    """A line of the table; a dash where a figure is unknown."""
    total, macs = report.totals, report.model["macs"]
    shown = {key: "-" if value is None else value for key, value in total.items()}
    bits = pair if "x" not in pair else "w" + pair.replace("x", "a")
    return (
        f"| {name} | {bits} | {setting} | {macs} | {shown['instructions']}"
        f" | {shown['predicted_instructions']} | {total['instructions'] / macs:.3f}"
        f" | {shown['cycles']} | {shown['predicted_cycles']} | {shown['code_bytes']}"
        f" | {shown['const_bytes']} | {shown['ram_bytes']} | {shown['stack_bytes']}"
        f" | {report.mismatches} |"
    )


def main() -> int:
    """Print the table; 1 when a network computed other integers than the simulator."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--bits", default="8x8", help="weight x activation bits, or mixed1")
    parser.add_argument("--optimise", default="speed", help="speed, size, ram, or several of them")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, wrong = time.monotonic(), 0
    print("| network | bits | setting | MACs | instructions | predicted | instr/MAC | cycles"
          " | predicted | code | constants | RAM | stack | mismatches |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in options.networks.split(","):
        for pair in options.bits.split(","):
            graph = graph_of(name, pair)
            for setting in options.optimise.split(","):
                report = verify(
                    graph, options.target, make_inputs(graph, samples=4), executor="emulator",
                    optimise=setting,
                )  # fmt: skip
                wrong += report.mismatches
                print(_row(name, pair, setting, report), flush=True)
    print(f"\n{options.target}, {time.monotonic() - started:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
