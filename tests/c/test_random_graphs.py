# SPDX-License-Identifier: Apache-2.0
"""Random networks: simulator = host C, passes change nothing, files give back the same network."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from host_batch import compile_batch, trace
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from adaqat.deploy import load, save, simulate
from adaqat.deploy.ops import REGISTRY
from adaqat.deploy.passes import run_passes
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally

BATCH = 25
"""Networks in one compilation, where most of the time goes."""


def prove(seeds: Sequence[int], folder: Path) -> None:
    graphs = [random_graph(seed) for seed in seeds]
    library, models = compile_batch(graphs, folder)
    for seed, graph, model in zip(seeds, graphs, models, strict=True):
        where = f"seed {seed}\n{graph.dump()}"
        codes = make_inputs(graph, samples=12, seed=seed)
        tally = Tally(model, "host")
        tally.add(codes, trace(library, model, codes))
        assert tally.mismatches == 0, f"{tally.first}\n{where}"
        cleaned = run_passes(graph)
        assert np.array_equal(simulate(graph, codes), simulate(cleaned, codes)), where
        save(cleaned, folder / "net.adaqat")
        assert load(folder / "net.adaqat").model_id == cleaned.model_id, where


def prove_many(cases: int) -> None:
    """At least so many different networks."""
    seen: set[int] = set()

    @settings(max_examples=-(-cases // BATCH) + 1, deadline=None, database=None,
              phases=[Phase.generate],  # a smaller seed is no simpler network
              suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    def batches(start):
        seeds = [int(v) for v in np.random.SeedSequence(start).generate_state(BATCH)]
        with tempfile.TemporaryDirectory(prefix="adaqat-random-") as folder:
            prove(seeds, Path(folder))
        seen.update(seeds)

    batches()
    assert len(seen) >= cases
    print(f"{len(seen)} different networks")


def test_random_graphs():
    prove_many(200)


@pytest.mark.sweep
def test_many_random_graphs():
    prove_many(2000)


def test_every_operator_and_width_turns_up():
    """All operators, weights of 1 to 8 bits in each that has them, tensors of every type."""
    nodes = [node for seed in range(2000) for node in random_graph(seed)]
    assert {node.op.kind for node in nodes} == set(REGISTRY)
    weighted = {node.op.kind for node in nodes if node.op.weight_bits}
    widths = Counter((node.op.kind, node.op.weight_bits) for node in nodes)
    assert weighted >= {"conv2d", "depthwise_conv2d", "conv_transpose2d", "linear"}
    missing = [(k, b) for k in weighted for b in range(1, 9) if not widths[k, b]]
    assert not missing
    types = {str(node.output.type) for node in nodes}
    assert types >= {f"{sign}{bits}" for sign in "su" for bits in range(1, 9)}
    wide = {node.op.kind for node in nodes if node.output.wide}
    assert wide >= {"conv2d", "depthwise_conv2d", "linear", "add", "mul", "requantize", "avgpool2d",
                    "maxpool2d", "concat", "pad", "slice", "transpose", "reshape"}  # fmt: skip
    shapes = {node.output.shape for node in nodes}
    assert {1, 2, 3, 4, 5} <= {len(shape) for shape in shapes}
    assert {(1, 1, 1)} <= shapes and any(s[0] == 1 < s[1] for s in shapes if len(s) == 3)


def test_a_wrong_integer_is_found(tmp_path):
    """The comparison sees a single changed code."""
    graph = random_graph(5)
    library, (model,) = compile_batch([graph], tmp_path)
    codes = make_inputs(graph, samples=12)
    found = trace(library, model, codes)
    found[7, found.shape[1] // 2] ^= 1
    tally = Tally(model, "host")
    tally.add(codes, found)
    assert tally.mismatches == 1
