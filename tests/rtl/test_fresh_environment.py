# SPDX-License-Identifier: Apache-2.0
"""``pip install adaqat-deploy[fpga]`` alone: verification, synthesis, place and route."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from adaqat.deploy import save


@pytest.mark.sweep
def test_the_extra_is_enough(wheel: Path, tiny_graph: Any, tmp_path: Path) -> None:
    """Everything from the package index into an empty environment; only a C++ compiler besides."""
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", f"adaqat-deploy[fpga] @ {wheel.as_uri()}"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"no package index: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True).stdout
    assert "torch" not in listed and "ziglang" not in listed
    save(tiny_graph, tmp_path / "tiny.adaqat")
    # tools of the system stay out: only what a compiler needs is on PATH
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("c++", "g++", "as", "ld", "cc", "gcc"):
        if Path("/usr/bin", name).exists():
            (tools / name).symlink_to(Path("/usr/bin", name))
    environment = {"PATH": str(tools), "HOME": os.environ.get("HOME", str(tmp_path))}
    done = subprocess.run(
        [home / "bin" / "adaqat-deploy", tmp_path / "tiny.adaqat", "--target", "fpga-ice40",
         "--board", "icebreaker", "--pnr", "-o", tmp_path / "out", "--json"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (run,) = report["verify"]
    assert run["executor"] == "rtl" and run["mismatches"] == 0 and run["values"] > 10_000
    assert report["totals"]["lut"] > 500 and report["totals"]["fmax_mhz"] > 12
    assert (tmp_path / "out" / "net_board.bin").stat().st_size > 100_000
