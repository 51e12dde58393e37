# SPDX-License-Identifier: Apache-2.0
"""One clear message and the right exit code per mistake, no traceback, no partial output."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
DEPLOY = ("-m", "adaqat.deploy")


def adaqat(run_python: Run, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_python("-c", "from adaqat.deploy.cli import main; main()", *arguments, **options)


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Exit code, one message with these words on stderr, no traceback, nothing on stdout."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    plain = re.sub(r"[\s│]+", " ", done.stderr)
    for word in words:
        assert word in plain, plain
    assert done.stderr.count("error: ") <= 1


def broken(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable safetensors file"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "without an adaqat graph"),
        (b"PK\x03\x04 a zip file of another program", "not a readable safetensors file"),
    ],
    ids=["empty", "foreign safetensors", "foreign"],
)
def test_foreign_files(run_python: Run, tmp_path: Path, content: bytes, words: str) -> None:
    file = broken(tmp_path / "model.adaqat", content)
    done = run_python(*DEPLOY, str(file), "-t", "c99", "-o", str(tmp_path / "out"))
    refused(done, 2, str(file.name), words)
    assert not (tmp_path / "out").exists()


def test_truncated_file(run_python: Run, tiny_model: Path, tmp_path: Path) -> None:
    whole = tiny_model.read_bytes()
    for length in (4, 200, len(whole) - 5):
        file = broken(tmp_path / "short.adaqat", whole[:length])
        done = run_python(*DEPLOY, str(file), "-t", "c99", "-o", str(tmp_path / "out"))
        refused(done, 2, "short.adaqat", "truncated")
    assert [entry.name for entry in tmp_path.iterdir()] == ["short.adaqat"]


def mistakes(model: str, tmp: Path) -> dict[str, tuple[list[str], int, tuple[str, ...]]]:
    """Arguments of adaqat-deploy, exit code, words of the message."""
    out = ["-o", str(tmp / "out")]
    c99 = ["-t", "c99"]
    (tmp / "file").write_text("mine")
    (tmp / "full").mkdir()
    (tmp / "full" / "thesis.tex").write_text("mine")
    (tmp / "empty").mkdir()
    (tmp / "words.npy").write_text("no array")
    np.save(tmp / "shape.npy", np.zeros((2, 3, 3, 1)))
    np.save(tmp / "range.npy", np.full((1, 6, 6, 2), 99))
    return {
        "bad path": ([str(tmp / "none.adaqat"), *c99, *out], 2, ("none.adaqat", "no such file")),
        "unknown target": ([model, "-t", "z80", *out], 2, ("'z80'", "known targets", "cortex-m4")),
        "no target": ([model, *out], 2, ("--target",)),
        "no folder": ([model, *c99], 2, ("--out",)),
        "bad name": ([model, *c99, *out, "--name", "int"], 2, ("'int'", "keyword")),
        "path as name": ([model, *c99, *out, "--name", "../x"], 2, ("'../x'", "letter")),
        "destination is a file": ([model, *c99, "-o", str(tmp / "file")], 2, ("is a file",)),
        "destination below a file": (
            [model, *c99, "-o", str(tmp / "file" / "out")], 2, ("cannot be written",)
        ),
        "destination of someone else": (
            [model, *c99, "-o", str(tmp / "full")], 2, ("did not write",)
        ),
        "folder without a model": ([str(tmp / "empty"), *c99, *out], 2, ("model.adaqat",)),
        "tflite": (["net.tflite", *c99, *out], 2, ("net.tflite: cannot be read", ".tflite file")),
        "onnx": (["net.onnx", *c99, *out], 2, ("onnx",)),
        "rtl": ([model, *c99, *out, "--verify", "rtl"], 2, ("emits C", "FPGA target")),
        "rtl on host": ([model, "-t", "fpga", *out, "--verify", "host"], 2, ("emits Verilog",)),
        "verilog name": ([model, "-t", "fpga", *out, "--name", "wire"], 2, ("'wire'", "keyword")),
        "goal of C": ([model, *c99, *out, "--goal", "lut=9"], 2, ("--goal", "emits C")),
        "bad goal": ([model, "-t", "fpga", *out, "--goal", "speed=9"], 2, ("NAME=NUMBER",)),
        "tight goal": ([model, "-t", "fpga", *out, "--goal", "interval=3"], 2, ("at its fastest",)),
        "board of a family": (
            [model, "-t", "fpga", *out, "--board", "icebreaker"], 2, ("fpga-ice40", "fpga-ecp5"),
        ),
        "board unknown": (
            [model, "-t", "fpga", *out, "--board", "arty"], 2, ("'arty'", "icebreaker"),
        ),
        "pins for gowin": (
            [model, "-t", "fpga-gowin", *out, "--pnr"], 2, ("pins of a board", "tang-nano-9k"),
        ),
        "written C": ([model, *c99, *out, "--reloadable-weights"], 2, ("emits C",)),
        "written wires": (
            [model, "-t", "fpga", *out, "--reloadable-weights", "--engine", "unrolled"], 2,
            ("weights of unrolled layers are adders",),
        ),
        "no power": ([model, "-t", "fpga", *out, "--power-w", "0"], 2, ("number of watts",)),
        "unknown executor": ([model, *c99, *out, "--verify", "fpga"], 2, ("'fpga'",)),
        "none and more": (
            [model, *c99, *out, "--verify", "none", "--verify", "host"], 2, ("stands alone",)
        ),
        "no core": ([model, *c99, *out, "--verify", "emulator"], 2, ("--verify host",)),
        "no samples": ([model, *c99, *out, "--samples", "0"], 2, ("--samples",)),
        "inputs missing": ([model, *c99, *out, "--inputs", "x.npy"], 2, ("x.npy", "read")),
        "inputs foreign": (
            [model, *c99, *out, "--inputs", str(tmp / "words.npy")], 2, ("numpy.save",)
        ),
        "inputs of wrong shape": (
            [model, *c99, *out, "--inputs", str(tmp / "shape.npy")], 2, ("shape",)
        ),
        "inputs out of range": (
            [model, *c99, *out, "--inputs", str(tmp / "range.npy")], 2, ("99", "u4")
        ),
    }  # fmt: skip


MISTAKES = [
    "bad path", "unknown target", "no target", "no folder", "bad name", "path as name",
    "destination is a file", "destination below a file", "destination of someone else",
    "folder without a model", "tflite", "onnx", "rtl", "rtl on host", "verilog name",
    "goal of C", "bad goal", "tight goal", "board of a family", "board unknown",
    "pins for gowin", "written C", "written wires", "no power", "unknown executor", "none and more",
    "no core", "no samples", "inputs missing", "inputs foreign", "inputs of wrong shape",
    "inputs out of range",
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(run_python: Run, tiny_model: Path, tmp_path: Path, mistake: str) -> None:
    every = mistakes(str(tiny_model), tmp_path)
    assert sorted(every) == sorted(MISTAKES)
    arguments, code, words = every[mistake]
    before = sorted(tmp_path.rglob("*"))
    refused(run_python(*DEPLOY, *arguments, cwd=tmp_path), code, *words)
    assert sorted(tmp_path.rglob("*")) == before, "no partial output"


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("latency_ms", "NAME=NUMBER"),
        ("speed=3", "NAME=NUMBER"),
        ("flash_kb=much", "positive number"),
        ("flash_kb=-1", "positive number"),
        ("lut=4000", "NAME=NUMBER"),  # of training only
    ],
)
def test_bad_budgets(run_python: Run, tiny_model: Path, budget: str, words: str) -> None:
    refused(adaqat(run_python, "compare", str(tiny_model), "--budget", budget), 2, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--target TARGET (may be repeated) or --all is needed"),
        (("-t", "cortex-m4", "--all"), "one of them"),
        (("-t", "cortex-m4", "--cache", "c", "--no-cache"), "at most one of --cache"),
        (("-t", "cortex-m99"), "'cortex-m99' is unknown"),
        (("-t", "cortex-m4", "--compiler", "tcc", "--cache", "c"), "'tcc' was asked for"),
    ],
)
def test_measure_mistakes(
    run_python: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused(adaqat(run_python, "measure", *arguments, cwd=tmp_path), 2, words)
    assert not list(tmp_path.glob("*.toml"))


def test_a_target_without_a_core_or_a_table(
    monkeypatch: pytest.MonkeyPatch, tiny_graph: Any
) -> None:
    from adaqat.deploy import prediction, targets
    from adaqat.deploy.errors import UsageError
    from adaqat.deploy.measure import measure
    from adaqat.deploy.report import check_board

    bare = targets.Target("bare", "other")
    monkeypatch.setattr(targets, "get", lambda name: bare)
    with pytest.raises(UsageError, match="bare: has no core to count on"):
        measure("bare")
    with pytest.raises(UsageError, match="bare: has no cost table"):
        prediction.predictions(tiny_graph, ["bare"], {})
    with pytest.raises(UsageError, match="--board nucleo-l4r5zi: target bare has no cost table"):
        check_board(bare, "nucleo-l4r5zi")


@pytest.mark.parametrize(
    ("target", "board", "words"),
    [
        ("cortex-m4", "z80", "there is no 'z80'; known are"),
        ("cortex-m4", "nucleo-g0b1re", "has a cortex-m0plus, target cortex-m4 is for cortex-m4"),
        ("c99", "ibex-demo-arty-a7", "target c99 is for riscv32; boards for it: none"),
    ],
)
def test_boards_that_do_not_fit(
    run_python: Run, tiny_model: Path, tmp_path: Path, target: str, board: str, words: str
) -> None:
    done = run_python(
        *DEPLOY, str(tiny_model), "-t", target, "--board", board, "-o", str(tmp_path / "out")
    )
    refused(done, 2, words)
    assert not (tmp_path / "out").exists()


def test_compare_on_a_board_needs_one_target(run_python: Run, tiny_model: Path) -> None:
    done = adaqat(run_python, "compare", str(tiny_model), "--board", "nucleo-l4r5zi")
    refused(done, 2, "0 targets given; a board has one core")


def test_training_without_torch(run_python: Run) -> None:
    code = (
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        "from adaqat.deploy.cli import main; main()\n"
    )
    done = run_python("-c", code, "train", "digits")
    refused(done, 2, "PyTorch is not installed", "adaqat-deploy[train]")
