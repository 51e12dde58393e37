# SPDX-License-Identifier: Apache-2.0
"""Whole runs, short: results, files, resume, checkpoints, the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from adaqat.deploy import ModelFileError, UsageError, load, lower, simulate
from adaqat.train import Recipe, calibrate, exact, fit, phases, prepare, pricing, training
from adaqat.train.checkpoint import load_checkpoint, save_checkpoint
from adaqat.train.cli import _Progress, app
from adaqat.train.pricing import network_cost

pytest.importorskip("sklearn")

SHORT: dict[str, Any] = {
    "data": {"limit": 384, "batch": 32},
    "float": {"epochs": 5, "lr": 5e-3},
    "search": {
        "target": "toy",
        "budget": {"flash_kb": 10.5},
        "warm_up": 2,
        "part": 0.5,
        "adapt": 2,
    },
    "train": {"epochs": 4, "exact_epochs": 1, "calibration": 64},
}


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, target: Any) -> None:
    """The table "toy" is the made-up target."""
    known = pricing.load
    monkeypatch.setattr(pricing, "load", lambda name: target if name == "toy" else known(name))


@pytest.mark.parametrize("emulated", [False, True])
def test_bfloat16_without_instructions_for_it_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch, emulated: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "emulates_bf16", lambda device: emulated)
    monkeypatch.setattr(training, "float_phase", stop)
    seen: list[Mapping[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        fit(Recipe.parse({**SHORT, "bf16": True}), listener=seen.append)
    assert len(seen) == emulated
    for event in seen:
        _Progress()(event)
        assert "bf16: true found" in str(event["text"]) and "bf16 = false" in str(event["text"])
        assert "note: bf16: true found" in capsys.readouterr().err
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        fit(Recipe.parse(SHORT), listener=seen.append)
    assert not seen


def test_a_run_leaves_its_files_and_figures(tmp_path: Path) -> None:
    seen: list[str] = []
    result = fit(Recipe.parse(SHORT), tmp_path / "run", listener=lambda e: seen.append(e["phase"]))
    figures = json.loads((tmp_path / "run" / "result.json").read_text())
    assert figures == result.figures
    assert figures["predicted"]["flash_kb"] <= 10.5
    assert figures["accuracy"]["float"] > 40 and figures["accuracy"]["integer"] > 40
    images, labels = result.test
    scores = exact(result.module)(images)
    wanted = torch.nn.functional.cross_entropy(scores.double(), labels)
    assert figures["cross_entropy"]["integer"] == pytest.approx(float(wanted), rel=1e-6)
    assert [w["name"] for w in figures["why"]] == [w["name"] for w in figures["widths"]]
    (kept,) = [c["name"] for c in figures["candidates"] if c["chosen"]]
    groups = {g["name"]: g for g in figures["widths"]}
    for reason in figures["why"]:
        assert reason["bits"] == groups[reason["name"]]["bits"] and reason["why"]
        if groups[reason["name"]]["fixed"]:
            assert reason["why"] == f"not searched: {groups[reason['name']]['reason']}"
        elif reason["fewer"] is not None:
            assert reason["change"] >= 0 and reason["saved"]["flash_kb"] > 0 < reason["price"]
            assert reason["decided_by"] == kept and f"candidate '{kept}'" in reason["why"]
    assert any("would break flash_kb = 10.5" in r["why"] for r in figures["why"])
    assert seen.count("search") + seen.count("train") == 4 and seen[-1] == "done"
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["phase"] for line in lines] == seen
    assert Recipe.read(tmp_path / "run" / "recipe.toml") == Recipe.parse(SHORT)
    lower(result.module, result.example)


def test_uniform_widths_without_a_search() -> None:
    values = {
        **SHORT,
        "quant": {"weight_bits": 4, "act_bits": 4, "first_last_bits": 0},
        "search": {"strength": 0.0},
        "train": {"epochs": 1, "exact_epochs": 0, "distill": 0.5},
    }
    result = fit(Recipe.parse(values))
    assert result.controller is None
    assert result.figures["weight_bits"] == {"mean_per_weight": 4, "mean_per_layer": 4}
    assert result.figures["target"] == "cortex-m4"
    cost = network_cost(result.module, "cortex-m4")
    assert result.figures["predicted"] == {m: cost.total(m) for m in cost.limited}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("unet", r"model: unet gives \(2, 10, 8, 8\) for 2 inputs of digits; task = 'classify' ta"),
        ("autoencoder", r"model: autoencoder cannot compute images of shape \(2, 1, 8, 8\)"),
    ],
)
def test_networks_that_do_not_fit_their_task_are_refused(
    tmp_path: Path, model: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fit(Recipe.parse({**SHORT, "model": model}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_from_scratch() -> None:
    values = {**SHORT, "float": {"epochs": 0}, "train": {"epochs": 6, "lr": 5e-3}}
    result = fit(Recipe.parse(values))
    assert result.figures["accuracy"]["integer"] > result.figures["accuracy"]["float"] + 10


def test_an_impossible_budget_fails_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "float_phase", lambda *a: pytest.fail("trained"))
    values = {**SHORT, "search": {"target": "toy", "budget": {"flash_kb": 0.5}}}
    with pytest.raises(UsageError, match="smallest reachable cost"):
        fit(Recipe.parse(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_checkpoint_round_trip_and_damage(
    tmp_path: Path, residual: Callable[[], nn.Module], images: Tensor
) -> None:
    def fresh() -> Any:
        return prepare(residual(), images, granularity="network")

    module, path = fresh(), tmp_path / "c.safetensors"
    calibrate(module, [images])
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    module.train()(images).sum().backward()
    optimizer.step()
    module.widths[0].freeze(3)
    save_checkpoint(path, module, {"epoch": 7}, optimizer, {"random": torch.arange(3)})
    other = fresh()
    again = torch.optim.Adam(other.parameters(), 1e-2)
    state, extra = load_checkpoint(path, other, again)
    assert state["epoch"] == 7 and torch.equal(extra["random"], torch.arange(3))
    assert other.calibrated and other.widths[0].integer == 3
    assert torch.equal(other.eval()(images), module.eval()(images))
    for p, q in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(optimizer.state[p]["exp_avg"], again.state[q]["exp_avg"])
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"], "no partial file is left"

    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_checkpoint(path, fresh())
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_checkpoint(tmp_path / "none", fresh())
    save_checkpoint(path, nn.Linear(2, 2), {})
    with pytest.raises(ModelFileError, match="belongs to another network"):
        load_checkpoint(path, fresh())


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_command_line_trains_and_writes_a_model(tmp_path: Path) -> None:
    path, out = tmp_path / "r.toml", tmp_path / "run"
    path.write_text(Recipe.parse(SHORT).to_toml())
    done = run(str(path), "-o", str(out), "--json", "--seed", "2", "--budget", "flash_kb=11")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["budget"] == {"flash_kb": 11}
    graph = load(out / "model.adaqat")
    codes, labels = (np.load(out / f"test_{name}.npy") for name in ("codes", "labels"))
    right = (simulate(graph, codes).argmax(1) == labels).mean() * 100
    assert right == pytest.approx(figures["accuracy"]["integer"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits"], "no -o found"),
        (["-o", "x"], "neither a recipe nor --model"),
        (["none.toml", "-o", "x"], "none.toml cannot be read"),
        (["digits", "-o", "x", "--budget", "flash"], "--budget: 'flash'"),
        (["digits", "-o", "x", "--target", "abacus"], "abacus"),
        (["digits", "-o", "x", "--model", "nothing"], "model: 'nothing' found"),
        (["digits", "-o", "x", "--data", "mnist"], "data: 'mnist' found"),
    ],
)
def test_command_line_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output and "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []
