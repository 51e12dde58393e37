# SPDX-License-Identifier: Apache-2.0
"""The packages pass mypy --strict and ruff.

Type checkers do not run the import hook of an editable install, so the packages are checked through
a tree of links (see docs/extending.md for the same in an editor).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_strict_types(
    root: Path, source_tree: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pytest.importorskip("mypy")
    done = run_python(
        "-m", "mypy", "-p", "adaqat", "--config-file", str(root / "pyproject.toml"),
        "--cache-dir", str(root / ".mypy_cache"), cwd=source_tree,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint(root: Path) -> None:
    pytest.importorskip("ruff")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--output-format=concise", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
