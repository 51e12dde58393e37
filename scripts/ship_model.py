# SPDX-License-Identifier: Apache-2.0
"""Puts the digits network of a finished run, with its test images, into the package.

    adaqat-train digits -o run && python scripts/ship_model.py run
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from adaqat.deploy import load, save, simulate
from adaqat.deploy.shipped import MODEL, TEST_SPLIT

PACKAGE = Path(__file__).resolve().parent.parent / "deploy"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder that adaqat-train wrote")
    run = parser.parse_args().run
    graph = load(run / "model.adaqat")
    codes, labels = np.load(run / "test_codes.npy"), np.load(run / "test_labels.npy")
    correct = simulate(graph, codes).reshape(len(codes), -1).argmax(axis=1) == labels
    (PACKAGE / MODEL).parent.mkdir(exist_ok=True)
    save(graph, PACKAGE / MODEL)
    np.savez_compressed(PACKAGE / TEST_SPLIT, codes=codes, labels=labels.astype(np.uint8))
    print(f"{graph.model_id[:16]}: {correct.mean():.2%} of {len(codes)} test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
