# SPDX-License-Identifier: Apache-2.0
"""Pictures from run folders, and what is said where there is nothing to draw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaqat.deploy import UsageError
from adaqat.train.plots import pareto_front, plot_pareto, plot_widths


def make_run(folder: Path, method: str, cost: float, score: float) -> Path:
    folder.mkdir()
    events = [
        {"phase": "float", "epoch": 1, "loss": 1.0, "validation": 50.0},
        {"phase": "search", "epoch": 1, "widths": {"w:conv": 8.0, "a:conv": 7.5}},
        {"phase": "train", "epoch": 2, "widths": {"w:conv": 3.0, "a:conv": 4.0}},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    result = {
        "name": folder.name,
        "method": method,
        "predicted": {"flash_kb": cost},
        "accuracy": {"integer": score},
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [
        make_run(tmp_path / f"run{i}", method, cost, score)
        for i, (method, cost, score) in enumerate([("adaqat", 10, 88), ("uniform", 12, 87)])
    ]
    for path in [*plot_widths(runs[0]), *plot_pareto(runs, "flash_kb", tmp_path / "out")]:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")
    svg = (tmp_path / "out" / "pareto.svg").read_text()
    assert len(svg) > 1000


def test_the_front_keeps_what_nothing_beats() -> None:
    points = [(3.0, 80.0), (1.0, 70.0), (2.0, 69.0), (3.0, 85.0), (4.0, 85.0)]
    assert pareto_front(points) == [(1.0, 70.0), (3.0, 85.0)]


def test_nothing_to_draw(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="cannot be read"):
        plot_widths(tmp_path)
    run = make_run(tmp_path / "run", "adaqat", 1, 2)
    with pytest.raises(UsageError, match="no result with latency_ms"):
        plot_pareto([run], "latency_ms", tmp_path)
    (run / "log.jsonl").write_text("")
    with pytest.raises(UsageError, match="no widths in its log"):
        plot_widths(run)
