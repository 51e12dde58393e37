# SPDX-License-Identifier: Apache-2.0
"""Time and memory of an AdaQAT step against a plain quantised step and a float step, in one run.

    python benchmarks/training_step.py [--model resnet8] [--batch 128] [--steps 12] [--threads 1]

The kinds of step take turns, so that whatever else the machine does hits them alike; the figure is
the median of process time. Memory is the peak of what tensors hold, from PyTorch's profiler, over
one step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.train import AdaQAT, QuantModule, calibrate, prepare
from adaqat.train.models import build_model


def quantised(model: nn.Module, x: Tensor) -> QuantModule:
    module = prepare(model.eval(), x[:2], act_quantizer="lsq")
    calibrate(module, [x])
    return module.train()


def stepper(
    net: nn.Module, x: Tensor, y: Tensor, bf16: bool, controller: AdaQAT | None = None
) -> Callable[[], None]:
    optimizer = torch.optim.Adam(net.parameters(), 1e-5)

    def closure() -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = net(x)
        return F.cross_entropy(output.float(), y), output

    def step() -> None:
        loss, output = closure()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if controller is not None:
            controller.step(closure, loss=loss, output=output)
        optimizer.step()

    return step


def peak(step: Callable[[], None]) -> float:
    """Largest sum of live tensor bytes during one step above what was live before it, in MB."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = top = 0
    for _, size in changes:
        live += size
        top = max(top, live)
    return top / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x = torch.randn(options.batch, 3, 32, 32).clamp(-2, 2)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (options.batch,))
    model = build_model(options.model, 3, 10)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        model.train()(x)
    plain, searched = quantised(model, x), quantised(model, x)
    controller = AdaQAT(
        searched, target="cortex-m4", strength={"cycles": 1.0}, steps=10**6, warm_up=0
    )
    kinds = {
        "float": stepper(model.train(), x, y, options.bf16),
        "QAT": stepper(plain, x, y, options.bf16),
        "AdaQAT search": stepper(searched, x, y, options.bf16, controller),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(options.steps + 1):
        for name, step in kinds.items():
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
    middle = {name: statistics.median(values[1:]) for name, values in times.items()}
    memory = {name: peak(step) for name, step in kinds.items()}
    print(f"{options.model}, batch {options.batch}, {options.threads} threads, bf16 {options.bf16}")
    for name in kinds:
        print(
            f"{name:<14} {middle[name] * 1e3:8.1f} ms ({middle[name] / middle['QAT']:.2f} of QAT)"
            f" {memory[name]:8.1f} MB ({memory[name] / memory['QAT']:.2f} of QAT)"
        )


if __name__ == "__main__":
    main()
