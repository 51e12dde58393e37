# SPDX-License-Identifier: Apache-2.0
"""Random networks: simulator = host C, passes change nothing, files give back the same network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from adaqat.deploy import Graph, load, save, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.host import HostModel
from adaqat.deploy.ops import REGISTRY
from adaqat.deploy.passes import run_passes
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


def host_differences(graph: Graph, samples: int = 12) -> str:
    """First difference between emitted C, compiled without optimisation, and simulator."""
    model = layout(graph, get("c99"), "net")
    codes = make_inputs(graph, samples=samples)
    tally = Tally(model, "host")
    with HostModel(model, ("-O0",)) as host:
        tally.add(codes, host.trace(codes))
    return str(tally.first) if tally.mismatches else ""


def prove(seed: int, folder) -> None:
    graph = random_graph(seed)
    codes = make_inputs(graph, samples=12, seed=seed)
    wanted = simulate(graph, codes)
    cleaned = run_passes(graph)
    assert np.array_equal(wanted, simulate(cleaned, codes)), graph.dump()
    assert not host_differences(graph), graph.dump()
    save(cleaned, folder / "net.adaqat")
    assert load(folder / "net.adaqat").model_id == cleaned.model_id


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(seed=st.integers(0, 2**32))
def test_random_graphs(seed, tmp_path):
    prove(seed, tmp_path)


@pytest.mark.sweep
@settings(max_examples=2000, deadline=None, suppress_health_check=SLOW)
@given(seed=st.integers(0, 2**32))
def test_many_random_graphs(seed, tmp_path):
    prove(seed, tmp_path)


def test_every_operator_turns_up():
    kinds = {node.op.kind for seed in range(150) for node in random_graph(seed)}
    assert kinds == set(REGISTRY)
