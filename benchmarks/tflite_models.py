# SPDX-License-Identifier: Apache-2.0
"""MLPerf Tiny's int8 models through the importer: every tensor against LiteRT, and accuracy.

    python benchmarks/tflite_models.py --data-root FOLDER

FOLDER holds ``mlperf_tiny/*.tflite`` and ``cifar-10-batches-py``. Inputs are test images of
CIFAR-10 for the image classifier and generated codes (extremes, then random) for the other.
"""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import numpy as np

from adaqat.deploy import import_tflite, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.litert import compare_roundings, compare_with_litert
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host

MODELS = ("ic_resnet8_int8", "kws_dscnn_int8")


def images(root: Path) -> tuple[np.ndarray, np.ndarray]:
    with (root / "cifar-10-batches-py" / "test_batch").open("rb") as file:
        stored = pickle.load(file, encoding="bytes")
    raw = stored[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return (raw.astype(np.int16) - 128).astype(np.int8), np.array(stored[b"labels"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=os.environ.get("ADAQAT_DATA"))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--accuracy", choices=("tflite", "native"), action="append", default=[],
                        help="the whole CIFAR-10 test set too, in this rounding")  # fmt: skip
    arguments = parser.parse_args()
    pictures, labels = images(arguments.data_root)
    for name in MODELS if arguments.samples else ():
        path = arguments.data_root / "mlperf_tiny" / f"{name}.tflite"
        found = read_tflite(path)
        codes = make_inputs(found.graph, samples=arguments.samples)
        if name.startswith("ic"):
            codes = pictures[: arguments.samples]
        entry = compare_with_litert(path, codes, found)
        host = compare_host(layout(found.graph, get("c99"), "net"), codes)
        native = compare_roundings(path, codes)
        print(f"{name}: {len(codes)} inputs, {entry['values']} bytes of {len(found.tensors)}"
              f" tensors, {entry['mismatches']} differ from LiteRT BUILTIN_REF;"
              f" host C: {host.mismatches} differ; native rounding:"
              f" {native['differences']} of {native['values']} differ,"
              f" {native['same_top']} largest outputs are the same", flush=True)  # fmt: skip
    for rounding in arguments.accuracy:
        path = arguments.data_root / "mlperf_tiny" / f"{MODELS[0]}.tflite"
        graph = import_tflite(path, rounding=rounding)
        right = 0
        for start in range(0, len(labels), 250):
            scores = simulate(graph, pictures[start : start + 250])
            right += int((scores.argmax(1) == labels[start : start + 250]).sum())
        print(f"{MODELS[0]}, {rounding} rounding: {right} of {len(labels)} CIFAR-10 test images"
              f" right, {100 * right / len(labels):.2f} %", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
