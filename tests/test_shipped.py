# SPDX-License-Identifier: Apache-2.0
"""The digits network that ships with the package is what the README says it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from adaqat.deploy import load, simulate, verify
from adaqat.deploy.shipped import shipped_model, shipped_test_split


def test_it_is_a_residual_network_with_learned_mixed_widths() -> None:
    graph = load(shipped_model())
    kinds = {node.op.kind for node in graph}
    widths = [node.op.weight_bits for node in graph if node.op.weight_bits]
    assert {"conv2d", "add", "linear"} <= kinds
    assert len(set(widths)) >= 3
    weights = [(node.op.weight_count, node.op.weight_bits) for node in graph if node.op.weight_bits]
    assert sum(n * bits for n, bits in weights) / sum(n for n, _ in weights) <= 4


def test_it_reads_digits() -> None:
    codes, labels = shipped_test_split()
    assert len(codes) == len(labels) >= 300
    scores = simulate(load(shipped_model()), codes).reshape(len(codes), -1)
    assert np.mean(scores.argmax(axis=1) == labels) >= 0.97


def test_all_equal_on_the_host_over_the_whole_test_split() -> None:
    report = verify(load(shipped_model()), "c99", shipped_test_split()[0])
    assert report.mismatches == 0
    assert report.verify[0]["samples"] == len(shipped_test_split()[0])


def test_deploys_without_naming_a_model(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run_python(
        "-m", "adaqat.deploy", "--target", "cortex-m", "-o", str(tmp_path / "out"), "--verify",
        "host", "--samples", "5", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["target"]["name"] == "cortex-m4"
    assert report["verify"][0]["samples"] == 5 + len(shipped_test_split()[0])
    assert report["totals"]["predicted_cycles"] > 0
