# SPDX-License-Identifier: Apache-2.0
"""Two processes of torchrun give the widths of one process with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("sklearn")
SCRIPT = str(Path(__file__).with_name("parallel_run.py"))

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run(out: Path, *launcher: str, adapt: int = 0) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, SCRIPT, str(out), str(adapt)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def read(out: Path, rank: int) -> tuple[dict[str, Any], dict[str, Any]]:
    name = f"{out.name}-{rank}"
    return (
        json.loads(out.with_name(f"{name}.json").read_text()),
        torch.load(out.with_name(f"{name}.pt")),
    )


@pytest.mark.sweep
def test_processes_agree_on_trained_candidates(tmp_path: Path) -> None:
    # against one process there is no equality here: rounding errors decide between candidates that
    # score alike after their training
    run(tmp_path / "two", *TWO, adapt=1)
    (first, a), (second, b) = read(tmp_path / "two", 0), read(tmp_path / "two", 1)
    assert first["widths"] == second["widths"] and first["trials"] == second["trials"]
    assert len(first["trials"]) > 4 and all(score is not None for _, score in first["trials"])
    assert all(torch.equal(a[key], b[key]) for key in a), "replicas stay equal"


def test_widths_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two", *TWO)
    (single, alone), (first, a), (second, b) = (
        read(tmp_path / "one", 0),
        read(tmp_path / "two", 0),
        read(tmp_path / "two", 1),
    )
    assert first["widths"] == second["widths"] == single["widths"]
    assert first["worth"] == second["worth"], "probes agree to the last bit"
    assert all(torch.equal(a[key], b[key]) for key in a), "replicas stay equal"
    assert first["events"] == single["events"] and second["events"] == 0, "rank 0 alone logs"
    for name, value in alone.items():
        if value.is_floating_point() and "widths" not in name:
            torch.testing.assert_close(a[name], value, rtol=0.05, atol=0.02, msg=name)
