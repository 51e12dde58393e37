# SPDX-License-Identifier: Apache-2.0
"""What large networks cost the tool: lowering, emission, memory, simulation, compile time.

    python benchmarks/scale.py mobilenet        torchvision's mobilenet_v2 at 224x224
    python benchmarks/scale.py growth           plain networks of ten thousand to ten million

Process time on one thread; the simulator and the float network take turns. Every network runs in a
process of its own, whose peak memory is that of the whole road from the torch module on.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adaqat.deploy import lower, quantize_input, simulate
from adaqat.deploy.emit import layout, sources
from adaqat.deploy.host import compile_host
from adaqat.deploy.targets import get
from adaqat.train import calibrate, prepare
from adaqat.train.vision import torchvision

TARGET = "cortex-m4"
WIDTHS = (6, 20, 60, 140)
"""Channels of the networks of growing width: 10 thousand to 10 million weights."""
DEPTHS = (4, 16, 64)
"""Layers of the networks of growing depth."""


def plain(width: int, depth: int) -> nn.Module:
    """A convolutional network of about ``32 * width**2 + depth * width**2 * 9`` weights."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 16 * width)]
    return nn.Sequential(*layers)


def build(what: str) -> tuple[nn.Module, Tensor]:
    """(network, example input) of ``mobilenet`` or ``WIDTHxDEPTH``."""
    torch.manual_seed(0)
    if what == "mobilenet":
        model, size = torchvision().models.get_model("mobilenet_v2", weights=None), 224
    else:
        width, depth = (int(part) for part in what.split("x"))
        model, size = plain(width, depth), 16
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        model.train()(x)
    return model.eval(), x


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def one(what: str, turns: int) -> dict[str, float]:
    """Figures of one network, in seconds and GB."""
    torch.set_num_threads(1)
    model, x = build(what)
    prepared, module = timed(lambda: prepare(model, x).eval())
    calibrated, _ = timed(lambda: calibrate(module, [x]))
    lowering, graph = timed(lambda: lower(module, x[:1]))
    codes = quantize_input(graph, x[:1].double().numpy())
    planning, plan = timed(lambda: layout(graph, get(TARGET), "net"))
    vector = codes[0], simulate(graph, codes)[0]
    printing, texts = timed(lambda: sources(plan, vector))
    figures = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "nodes": len(graph.nodes),
        "prepare_s": prepared + calibrated,
        "lower_s": lowering,
        "emit_s": planning + printing,
        "text_MB": sum(len(text) for text in texts.values()) / 1e6,
    }
    simulator, floats = [], []
    with torch.no_grad():
        for _ in range(turns):
            floats.append(timed(lambda: model(x[:1]))[0])
            simulator.append(timed(lambda: simulate(graph, codes))[0])
    figures["float_s"] = statistics.median(floats)
    figures["simulator_s"] = statistics.median(simulator)
    figures["ratio"] = figures["simulator_s"] / figures["float_s"]
    figures["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    host = layout(graph, get("c99"), "net")
    with tempfile.TemporaryDirectory() as folder:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        compile_host(host, Path(folder))
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures["compile_s"] = end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime
    return figures


def show(what: str, figures: dict[str, float]) -> None:
    print(what, " ".join(f"{k} {v:.4g}" for k, v in figures.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="mobilenet, growth, or WIDTHxDEPTH")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.what != "growth":
        figures = one(options.what, options.turns)
        if options.json:
            print(json.dumps(figures))
        else:
            show(options.what, figures)
        return
    for what in [f"{w}x{4 + 26 * (w > 20)}" for w in WIDTHS] + [f"16x{d}" for d in DEPTHS]:
        command = [sys.executable, __file__, what, "--json", "--turns", str(options.turns)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        show(what, json.loads(done.stdout))


if __name__ == "__main__":
    main()
