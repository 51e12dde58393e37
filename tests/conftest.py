# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures; see tests/README.md for how the machinery works."""

from __future__ import annotations

import os

# Before NumPy or torch start their thread pools: several pools on few cores are slower than none.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deploy", "hw_models", "templates", "train")

if importlib.util.find_spec("adaqat") is None:
    # a bare checkout: the four directories are the package's parts
    adaqat = types.ModuleType("adaqat")
    adaqat.__path__ = [str(ROOT)]
    sys.modules["adaqat"] = adaqat


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which this checkout is importable as ``adaqat``, for other processes."""
    tree = tmp_path_factory.mktemp("source")
    parent = tree / "adaqat"
    parent.mkdir()
    for name in PACKAGES:
        (parent / name).symlink_to(ROOT / name, target_is_directory=True)
    return tree


@pytest.fixture(scope="session")
def run_python(
    source_tree: Path,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python *arguments`` in a fresh process that sees this checkout as ``adaqat``."""

    def run(
        *arguments: str, cwd: Path | None = None, path: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(path or source_tree), **env}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or source_tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
