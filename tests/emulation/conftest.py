# SPDX-License-Identifier: Apache-2.0
"""Shared pieces of the emulation tests: a tiny hand-written model and its images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adaqat.deploy.firmware import Interface, build_firmware
from adaqat.deploy.toolchain import Toolchain, gcc_toolchain, zig_toolchain
from adaqat.hw_models import load_core

FIXTURES = Path(__file__).parent / "fixtures"
TINY = Interface("tiny", 16, 4, "int8_t", "int8_t")
TINY_NODES = ("tiny_n0_scale", "tiny_n1_sum")

BuildTiny = Callable[..., Path]


def toolchain(kind: str) -> Toolchain:
    """The compiler of that kind; skips the test when it is not installed."""
    found = gcc_toolchain() if kind == "gcc" else zig_toolchain()
    if found is None:
        pytest.skip(f"no {kind} cross compiler is installed")
    return found


@pytest.fixture
def samples() -> np.ndarray:
    """Five inputs of the tiny model."""
    return np.random.default_rng(7).integers(-127, 128, (5, 16), dtype=np.int8)


def expected(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first node, output) of the tiny model, written independently of its C."""
    weights = np.array([(i + 1) * (-1) ** i for i in range(16)])
    scaled = np.clip(np.floor_divide(x.astype(np.int64) * weights, 8), -128, 127)
    sums = np.floor_divide(scaled.reshape(-1, 4, 4).sum(2), 4)
    return scaled.astype(np.int8), sums.astype(np.int8)


@pytest.fixture(scope="session")
def build_tiny(tmp_path_factory: pytest.TempPathFactory) -> BuildTiny:
    """Builds the tiny model for a core, once per combination."""
    built: dict[tuple[str, str, bool], Path] = {}

    def build(core: str, kind: str = "gcc", tap: bool = False) -> Path:
        key = (core, kind, tap)
        if key not in built:
            folder = tmp_path_factory.mktemp(f"{core}-{kind}")
            built[key] = build_firmware(
                TINY, load_core(core), [FIXTURES / "tiny.c"], [FIXTURES], folder,
                toolchain(kind), tap=tap,
            )  # fmt: skip
        return built[key]

    return build
