# SPDX-License-Identifier: Apache-2.0
"""Instructions of the DSP kernels on an emulated Cortex-M4: bars, and fewer for fewer bits."""

from __future__ import annotations

import importlib.util
import itertools
from argparse import Namespace
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("unicorn")

OPTIONS = Namespace(target="cortex-m4", core=None, compiler="gcc", optimise="-O2", signed=False,
                    step=1, samples=2)  # fmt: skip

# instructions per nominal multiply-accumulate of the whole call; shapes in benchmarks/kernels.py
BARS = {
    (8, 8): {"C3": 1.05, "C1": 1.15, "DW": 1.75, "FC": 1.25, "first": 1.30, "C3odd": 1.15,
             "DWs2": 2.17},
    (4, 8): {"C3": 1.03, "C1": 1.15, "DW": 1.75, "FC": 1.22, "DWs2": 2.17},
    (2, 2): {"C3": 0.68, "C1": 0.85, "DW": 1.75, "FC": 0.73, "DWs2": 2.17},
}


@cache
def benchmark():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "kernels.py"
    spec = importlib.util.spec_from_file_location("benchmark_kernels", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def instructions(shape, weight_bits, act_bits):
    from adaqat.deploy.errors import ToolError
    from adaqat.deploy.toolchain import find_toolchain

    try:
        find_toolchain("gcc")
    except ToolError as error:
        pytest.skip(str(error))
    (row,) = benchmark().measure([shape], [(weight_bits, act_bits)], OPTIONS)
    assert row.mismatches == 0
    return row.instructions / row.macs


@pytest.mark.parametrize(
    ("pair", "shape"), [(pair, shape) for pair, shapes in BARS.items() for shape in shapes]
)
def test_bars(pair, shape):
    assert instructions(shape, *pair) <= BARS[pair][shape]


@pytest.mark.sweep
@pytest.mark.parametrize("shape", ["C1s2", "FC", "DWs2"])
def test_fewer_bits_never_cost_instructions(shape):
    widths = (8, 5, 4, 3, 2, 1)
    pairs = [(w, 8) for w in widths] + [(w, 3) for w in widths] + [(w, 1) for w in widths]
    for (w, a), (wider_w, wider_a) in itertools.permutations(pairs, 2):
        if w <= wider_w and a <= wider_a:
            narrow, wide = instructions(shape, w, a), instructions(shape, wider_w, wider_a)
            assert narrow <= 1.02 * wide, f"w{w}a{a} {narrow:.3f}, w{wider_w}a{wider_a} {wide:.3f}"
