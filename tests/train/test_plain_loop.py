# SPDX-License-Identifier: Apache-2.0
"""The example of an own training loop runs and ends within its budget."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_loop.py"


def test_four_added_lines() -> None:
    assert re.findall(r"# (\d)$", EXAMPLE.read_text(), re.MULTILINE) == ["1", "2", "3", "4"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"test accuracy ([\d.]+) %, ([\d.]+) kB", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) > 85 and float(found[2]) <= 5.5
    assert "<- kept" in done.stdout and "nats at the last probe" in done.stdout
