# SPDX-License-Identifier: Apache-2.0
"""Puts the digits network of a finished run, with its test images, into the package.

    adaqat-train digits -o run && python scripts/ship_model.py run
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from adaqat.deploy import load, quantize_input, save, simulate
from adaqat.deploy.shipped import MODEL, TEST_SPLIT
from adaqat.train.data import load_data
from adaqat.train.recipe import Recipe

PACKAGE = Path(__file__).resolve().parent.parent / "deploy"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the training run")
    arguments = parser.parse_args()
    recipe = Recipe.read(arguments.run / "recipe.toml")
    data = load_data(recipe.data.name, None, seed=recipe.seed, validation=recipe.data.validation)
    graph = load(arguments.run / "model.adaqat")
    images, labels = (part.numpy() for part in data.test)
    codes = quantize_input(graph, images)
    correct = simulate(graph, codes).reshape(len(codes), -1).argmax(axis=1) == labels
    (PACKAGE / MODEL).parent.mkdir(exist_ok=True)
    save(graph, PACKAGE / MODEL)
    np.savez_compressed(PACKAGE / TEST_SPLIT, codes=codes, labels=labels.astype(np.uint8))
    print(f"{graph.model_id[:16]}: {correct.mean():.2%} of {len(codes)} test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
