# SPDX-License-Identifier: Apache-2.0
"""Instructions of the MVE kernels on a Cortex-M55 in QEMU: bars, and what fewer bits may cost."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from argparse import Namespace
from functools import cache
from pathlib import Path

import pytest

from adaqat.deploy.errors import ToolError
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.toolchain import find_toolchain
from adaqat.hw_models import load_core

OPTIONS = Namespace(target="cortex-m55", core=None, compiler="gcc", optimise="-O2", signed=False,
                    step=1, samples=2)  # fmt: skip

# instructions per nominal multiply-accumulate of the whole call; shapes in benchmarks/kernels.py
BARS = {
    "C3": 0.155, "C1": 0.226, "DW": 0.53, "FC": 0.155, "C3b": 0.126,
    # 1.3 times the figure of the whole tile
    "C3odd": 0.20, "C3s2": 0.20, "C1odd": 0.29, "FCodd": 0.20, "DWodd": 0.53, "DWs2": 0.68,
}  # fmt: skip


@cache
def benchmark():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "kernels.py"
    spec = importlib.util.spec_from_file_location("benchmark_kernels_mve", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def instructions(shape, weight_bits, act_bits):
    pytest.importorskip("elftools")
    reason = qemu_missing(load_core("cortex-m55"))
    if reason:
        pytest.skip(reason)
    try:
        find_toolchain("gcc")
    except ToolError as error:
        pytest.skip(str(error))
    (row,) = benchmark().measure([shape], [(weight_bits, act_bits)], OPTIONS)
    assert row.mismatches == 0
    return row.instructions / row.macs


@pytest.mark.parametrize("shape", BARS)
@pytest.mark.parametrize("pair", [(8, 8), (4, 8)])
def test_bars(pair, shape):
    assert instructions(shape, *pair) <= BARS[shape]


@pytest.mark.parametrize("pair", [(8, 8), (4, 8), (2, 8), (2, 2)])
def test_strides_cost_at_most_a_third_more(pair):
    assert instructions("DWs2", *pair) <= 1.3 * instructions("DW", *pair)


@pytest.mark.sweep
@pytest.mark.parametrize("shape", ["C1s2", "C3s2", "first", "FC", "DWs2"])
def test_fewer_bits_never_cost_instructions(shape):
    widths = (8, 5, 4, 2, 1)
    pairs = [(w, 8) for w in widths] + [(w, 3) for w in widths] + [(w, 1) for w in widths]
    for (w, a), (wider_w, wider_a) in itertools.permutations(pairs, 2):
        if w <= wider_w and a <= wider_a:
            narrow, wide = instructions(shape, w, a), instructions(shape, wider_w, wider_a)
            assert narrow <= 1.02 * wide, f"w{w}a{a} {narrow:.3f}, w{wider_w}a{wider_a} {wide:.3f}"
