# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures; see tests/README.md for how the machinery works."""

from __future__ import annotations

import os

# Before NumPy or torch start their thread pools: several pools on few cores are slower than none.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import shutil
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deploy", "hw_models", "templates", "train")

if importlib.util.find_spec("adaqat") is None:
    # a bare checkout: the four directories are the package's parts
    adaqat = types.ModuleType("adaqat")
    adaqat.__path__ = [str(ROOT)]
    sys.modules["adaqat"] = adaqat


@pytest.hookimpl(tryfirst=True)  # before -m takes its choice
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked ``thinned(n)``, one case in n stays outside the sweep.

    Those whose places have digits, to base n, that add up to a multiple of n: one of every n that
    follow each other, and another one whatever a parameter's period is.
    """
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("thinned")
        if mark:
            name = item.nodeid.partition("[")[0]
            place, every = seen[name], mark.args[0]
            seen[name] += 1
            digits = 0
            while place:
                place, digit = divmod(place, every)
                digits += digit
            if digits % every:
                item.add_marker(pytest.mark.sweep)


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


@pytest.fixture(scope="session")
def tiny_graph() -> Any:
    """A small network of several operators: convolution, residual sum, pool, linear."""
    import numpy as np

    from adaqat.deploy import Graph, IntType, Node, check
    from adaqat.deploy.ops.add import Add
    from adaqat.deploy.ops.base import Window
    from adaqat.deploy.ops.conv2d import Conv2d
    from adaqat.deploy.ops.linear import Linear
    from adaqat.deploy.ops.pool2d import MaxPool2d
    from adaqat.deploy.ops.source import Input, Reshape
    from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
    from adaqat.deploy.requant import snap, snap_add

    rng = np.random.default_rng(7)

    def weighted(shape: tuple[int, ...], bits: int, inputs: IntType, out: IntType) -> Any:
        codes = rng.integers(0, 1 << bits, shape).astype(np.uint8)
        weights = Weights(codes, bits, 1, -(1 << (bits - 1)))
        low, high = accumulator_bounds(weights.values, inputs)
        reach = np.maximum(np.abs(low), np.abs(high)).max()
        ratio = np.full(shape[0], 2.0 * out.hi / reach)
        offset = rng.normal(0, 1, shape[0])
        return weights, snap(ratio, offset, low, high, zero=0, lo=out.lo, hi=out.hi)

    u4, u3, s8 = IntType(4, False), IntType(3, False), IntType(8, True)
    x = Node.make("image", Input((6, 6, 2), u4, "NCHW"), (), scale=0.25)
    window = Window((3, 3), pad=(1, 1, 1, 1))
    conv = Node.make(
        "conv", Conv2d(*weighted((4, 3, 3, 2), 3, u4, u3), u3, window), (x,), source="net.conv"
    )
    again = Node.make("again", Conv2d(*weighted((4, 3, 3, 4), 2, u3, u3), u3, window), (conv,))
    rule = snap_add((0.7, 0.6), ((0, 7), (0, 7)), input_zeros=(0, 0), zero=0, lo=0, hi=7)
    added = Node.make("sum", Add(rule, u3), (conv, again))
    pool = Node.make("pool", MaxPool2d(Window((2, 2), (2, 2))), (added,))
    flat = Node.make("flat", Reshape((36,)), (pool,))
    out = Node.make("fc", Linear(*weighted((5, 36), 4, u3, s8), s8), (flat,), scale=0.1)
    return check(Graph("tiny", (x, conv, again, added, pool, flat, out), "fc"))


@pytest.fixture(scope="session")
def tiny_model(tiny_graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_graph` as a model file."""
    from adaqat.deploy import save

    path = tmp_path_factory.mktemp("model") / "tiny.adaqat"
    save(tiny_graph, path)
    return path


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a clean copy, so that no build folder of this checkout leaks in."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("deploy", "hw_models", "templates", "train"):
        shutil.copytree(
            root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("build")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(out), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built
