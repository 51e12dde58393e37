# SPDX-License-Identifier: Apache-2.0
"""The grids of benchmarks/cifar10.py: valid recipes; pieces of ResNet-20's run and are kept."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from adaqat.train import Recipe, calibrate, data, prepare
from adaqat.train.models import build_model
from adaqat.train.pricing import network_cost

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY: dict[str, Any] = {
    "model": "resnet20@0.25",
    "device": "cpu",
    "bf16": False,
    "threads": 1,
    "data": {"batch": 16, "validation": 0.2},
    "float": {"epochs": 1},
    "train": {"epochs": 1, "exact_epochs": 0, "calibration": 16},
    "search": {"adapt": 1, "trials": 1, "part": 0.5, "warm_up": 0, "probes": 4},
}


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cifar10_grid", BENCHMARKS / "cifar10.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("grid", ["cifar10.toml", "resnet20.toml"])
def test_every_run_of_a_grid_is_a_recipe(bench: ModuleType, grid: str) -> None:
    found = bench.recipes(3, BENCHMARKS / grid)
    assert next(iter(found)) == "float" and len(found) > 15
    for name, values in found.items():
        values.pop("scratch", None)
        recipe = Recipe.parse({"name": name, **values})
        assert recipe.seed == 3 and recipe.train.exact_epochs < recipe.train.epochs + 1
        assert not (recipe.search.budget and recipe.search.strength is not None), name


def test_budgets_of_resnet20_are_costs_of_uniform_networks(bench: ModuleType) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 32, 32)
    model = build_model("resnet20", 3, 10)
    model.train()(x)
    module = prepare(model.eval(), x)
    calibrate(module, [x])
    cost = network_cost(module, "cortex-m4")
    found = bench.recipes(0, BENCHMARKS / "resnet20.toml")
    points = {"ops_w4a4": (4, 4), "ops_w3a3": (3, 3), "ops_w2a2": (2, 2)}
    for name, (weight, act) in points.items():
        bits = {w: weight if w.kind == "weight" else act for w in module.widths if not w.fixed}
        (limit,) = found[f"adaqat_{name}"]["search"]["budget"].values()
        assert cost.total("gbitops", bits) == pytest.approx(limit, rel=1e-3)


@pytest.mark.sweep
def test_pieces_of_the_grid_run_and_are_not_run_twice(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(96, 3, 16, 16, generator=random).clamp(-2, 1.98)
    pair = (images, torch.arange(96) % 10)
    monkeypatch.setitem(data.LOADERS, "cifar10", lambda root: (pair, pair, 10))
    known = bench.recipes

    def tiny(seed: int, file: Path) -> dict[str, Any]:
        found = {name: bench.merged(values, TINY) for name, values in known(seed, file).items()}
        found["adaqat_ops_w3a3"]["search"]["budget"] = {"gbitops": 0.006}
        return found

    monkeypatch.setattr(bench, "recipes", tiny)
    names = "network_scratch,adaqat_ops_w3a3"
    grid = str(BENCHMARKS / "resnet20.toml")
    arguments = ["cifar10.py", "--grid", grid, "-o", str(tmp_path), "--data-root", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--only", names])
    bench.main()
    first = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.adaqat")}
    assert {p.parent.name for p in first} == {"float", *names.split(",")}
    bench.main()
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.adaqat")} == first
    figures = json.loads((tmp_path / "seed_0/adaqat_ops_w3a3/result.json").read_text())
    assert figures["predicted"]["gbitops"] <= 0.006 and len(figures["candidates"]) >= 3
    scratch = json.loads((tmp_path / "seed_0/network_scratch/result.json").read_text())
    assert {g["name"] for g in scratch["widths"] if not g["fixed"]} == {"weights", "activations"}
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["cifar10.py", "-o", str(tmp_path), "--report"])
    bench.main()
    table = capsys.readouterr().out
    assert "| network_scratch | 0 |" in table and "| - |" in table
