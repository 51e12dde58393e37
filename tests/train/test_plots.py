# SPDX-License-Identifier: Apache-2.0
"""Pictures from run folders, and what is said where there is nothing to draw."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from adaqat.deploy import UsageError
from adaqat.train.plots import TensorBoard, pareto_front, plot_pareto, plot_widths


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
    events = (runs[1] / "log.jsonl").read_text().replace('"a:conv"', '"c:conv"')
    (runs[1] / "log.jsonl").write_text(events)
    drawn = [*plot_widths(runs[0]), *plot_widths(runs[1])]
    for path in [*drawn, *plot_pareto(runs, "flash_kb", tmp_path / "out")]:
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


def test_tensorboard_repeats_the_log(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError
    )
    listen = TensorBoard(tmp_path, {"flash_kb": 5.0})
    listen({"phase": "float", "epoch": 1, "loss": 1.5, "validation": 50.0})
    listen({"phase": "done", "seconds": 3.0})
    for epoch, bits in [(1, 7.5), (2, 4.25)]:
        listen(
            {
                "phase": "search", "epoch": epoch, "loss": 1.0 / epoch, "validation": 60.0,
                "widths": {"w:conv": bits}, "costs": {"flash_kb": bits}, "strength": {"cycles": 2},
                "probes": {"w:conv": [3, 0.5, 0.25]}, "integer": 59.0,
            }
        )  # fmt: skip
    listen({"phase": "done", "accuracy": {"fake_quantised": 61.0, "integer": 60.5, "x": None}})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = {t: [(e.step, e.value) for e in events.Scalars(t)] for t in events.Tags()["scalars"]}
    assert seen["float/loss"] == [(1, 1.5)]
    assert seen["quantised/loss"] == [(1, 1.0), (2, 0.5)]
    assert seen["widths/w:conv"] == seen["cost/flash_kb"] == [(1, 7.5), (2, 4.25)]
    assert seen["cost of budget/flash_kb"] == [(1, 1.5), (2, pytest.approx(0.85))]
    assert seen["quantised/validation"] == [(1, 60.0), (2, 60.0)]
    assert seen["quantised/validation of the integers"] == [(1, 59.0), (2, 59.0)]
    assert (seen["test/integer"], seen["test/fake_quantised"]) == ([(2, 60.5)], [(2, 61.0)])
    assert seen["strength/cycles"] == [(1, 2.0), (2, 2.0)]
    assert seen["probe worth/w:conv"] == [(1, 0.5), (2, 0.5)]
    assert seen["probe price/w:conv"] == [(1, 0.25), (2, 0.25)]


def test_tensorboard_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"watch.tensorboard: the package tensorboard is not inst"):
        TensorBoard(tmp_path)
