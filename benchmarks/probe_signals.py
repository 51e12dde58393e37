# SPDX-License-Identifier: Apache-2.0
"""Which signal of a probe tells best what a bit is worth: rank correlation with the true loss rise.

    python benchmarks/probe_signals.py [--data digits] [--model digits_resnet] [--data-root FOLDER]

Trains a small float network, then, at 8 bits as calibrated and at 4 bits after some quantised
training, takes one bit from every free width in turn. The truth is the mean rise of the loss over
many mini-batches; each signal is averaged over 1, 3, 10 or 30 other mini-batches and its ranking of
the widths is compared with the truth's (Spearman). The signals: the loss difference, the divergence
of the predictions (KL), and the difference of the cross-entropy against the float network.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from adaqat.train import QuantModule, calibrate, prepare
from adaqat.train.bits import override
from adaqat.train.data import Data, batches, load_data
from adaqat.train.models import build_model
from adaqat.train.search import bit_worth

Floats = NDArray[np.float64]
SIGNALS = ("loss difference", "KL", "against the float network")
AVERAGED = (1, 3, 10, 30)


def endless(data: Data, size: int, seed: int, augment: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled training batches, epoch after epoch."""
    while True:
        yield from batches(data.train, size, seed=seed, augment=augment)
        seed += 1


def train(
    net: nn.Module,
    stream: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    rate: float,
    parameters: Callable[[], list[nn.Parameter]],
) -> None:
    optimizer = torch.optim.Adam(parameters(), rate)
    for step in range(steps):
        x, y = next(stream)
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.no_grad()
def measure(
    module: QuantModule,
    teacher: nn.Module,
    stream: Iterator[tuple[Tensor, Tensor]],
    count: int,
) -> Floats:
    """``[signals, batches, widths]``: what losing one bit looks like on each mini-batch."""
    free = [w for w in module.widths if not w.fixed]
    found = np.zeros((len(SIGNALS), count, len(free)))
    module.train()
    with module.running(stats="probe"):
        for b in range(count):
            x, y = next(stream)
            soft = teacher(x).softmax(1)
            output = module(x)
            here = F.cross_entropy(output, y), output
            for i, width in enumerate(free):
                with override({width: width.below(width.integer)}):
                    output = module(x)
                low = F.cross_entropy(output, y), output
                taught = F.cross_entropy(low[1], soft) - F.cross_entropy(here[1], soft)
                found[:, b, i] = (
                    bit_worth(here, low, "loss"), bit_worth(here, low, "kl"), float(taught),
                )  # fmt: skip
    return found


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's: Pearson's of the ranks (no ties in measured numbers)."""
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def table(title: str, known: Floats, fresh: Floats) -> None:
    """Correlation of every signal, averaged over few batches, with the truth of ``known``."""
    truth = known[0].mean(axis=0)
    half = len(known[0]) // 2
    repeated = rank_correlation(known[0][:half].mean(axis=0), known[0][half:].mean(axis=0))
    print(f"\n{title}: {known.shape[2]} widths; the truth's two halves agree at {repeated:.2f}\n")
    print("| signal | " + " | ".join(f"{n} batch{'es' * (n > 1)}" for n in AVERAGED) + " | all |")
    print("|---|" + "---|" * (len(AVERAGED) + 1))
    for name, own in zip(SIGNALS, fresh, strict=True):
        cells = []
        for n in AVERAGED:
            groups = [own[i : i + n].mean(axis=0) for i in range(0, len(own) - n + 1, n)]
            cells.append(statistics.mean(rank_correlation(g, truth) for g in groups))
        cells.append(rank_correlation(own.mean(axis=0), truth))
        print(f"| {name} | " + " | ".join(f"{c:.2f}" for c in cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="digits_resnet")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("ADAQAT_DATA"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--float-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=150, help="quantised training at 4 bits")
    parser.add_argument("--truth", type=int, default=300, help="mini-batches that are the truth")
    parser.add_argument("--seeds", default="0", help="numbers with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{options.model} on {options.data}, batch {options.batch}, truth over {options.truth}")
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    start = time.process_time()
    augment = "shift"
    known: dict[str, list[Floats]] = {}
    fresh: dict[str, list[Floats]] = {}
    for seed in (int(s) for s in options.seeds.split(",")):
        torch.manual_seed(seed)
        data = load_data(options.data, options.data_root, seed=seed)
        model = build_model(options.model, data.channels, data.classes)
        stream = endless(data, options.batch, 1000 * seed, augment)
        train(model.train(), stream, options.float_steps, 3e-3, lambda m=model: [*m.parameters()])
        teacher = model.eval()
        for title, bits in (("8 bits, as calibrated", 8), ("4 bits, after training", 4)):
            module = prepare(
                teacher, data.train[0][:2], act_quantizer="lsq", join_bits=None,
                first_last_bits=None, weight_bits=bits, act_bits=bits,
            )  # fmt: skip
            calibrate(module, [data.train[0][:512]])
            if bits < 8:
                train(
                    module.train(), stream, options.steps, 1e-3,
                    lambda m=module: [*m.parameters()],
                )  # fmt: skip
            known.setdefault(title, []).append(measure(module, teacher, stream, options.truth))
            fresh.setdefault(title, []).append(measure(module, teacher, stream, max(AVERAGED) * 2))
    for title, parts in known.items():
        for seed, (whole, few) in enumerate(zip(parts, fresh[title], strict=True)):
            table(f"{title}, network {seed}" if len(parts) > 1 else title, whole, few)
    print(f"\n{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
