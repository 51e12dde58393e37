# SPDX-License-Identifier: Apache-2.0
"""What trained models compute and cost: simulator, host C and the emulated core on real images.

    python benchmarks/trained.py MODEL.adaqat [...] --data-root FOLDER [--data cifar10]
        [--target cortex-m4] [--samples 10000] [--emulated 100]

The simulator's accuracy is that of the first ``--samples`` test images; the emitted C is compared
with it on the same images, every integer of every node; so is the core's own code on the first
``--emulated``.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from adaqat.deploy import load, quantize_input, simulate, verify
from adaqat.train.data import load_data

BATCH = 250
TOTALS = (
    "instructions", "predicted_instructions", "cycles", "predicted_cycles", "latency_ms",
    "code_bytes", "predicted_code_bytes", "const_bytes", "ram_bytes", "stack_bytes",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("ADAQAT_DATA"))
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--emulated", type=int, default=100)
    options = parser.parse_args()
    images, labels = load_data(options.data, options.data_root, seed=0, validation=0.1).test
    images, labels = images[: options.samples], labels[: options.samples]
    for path in options.models:
        graph = load(path)
        codes = quantize_input(graph, images.double().numpy())
        right = sum(
            int((simulate(graph, part).argmax(-1).ravel() == wanted).sum())
            for part, wanted in zip(
                np.split(codes, range(BATCH, len(codes), BATCH)),
                np.split(labels.numpy(), range(BATCH, len(codes), BATCH)),
                strict=True,
            )
        )
        host = values = 0
        for part in np.split(codes, range(BATCH, len(codes), BATCH)):
            result = verify(graph, "c99", part)
            host += result.mismatches
            values += result.verify[0]["values"]
        core = verify(graph, options.target, codes[: options.emulated], executor="emulator")
        totals = core.totals
        print(
            json.dumps(
                {
                    "model": path.stem,
                    "images": len(codes),
                    "right in the simulator": right,
                    "accuracy": 100 * right / len(codes),
                    "integers on the host": values,
                    "mismatches on the host": host,
                    f"integers on {options.target}": core.verify[0]["values"],
                    f"mismatches on {options.target}": core.mismatches,
                    **{key: totals[key] for key in TOTALS},
                },
                indent=1,
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
