# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: results, exit codes, one clear message per mistake."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
DEPLOY = ("-m", "adaqat.deploy")
HEAVY = ("torch", "torchvision", "ortools", "scipy", "sklearn", "unicorn", "matplotlib", "jinja2")


def adaqat(run_python: Run, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_python("-c", "from adaqat.deploy.cli import main; main()", *arguments, **options)


@pytest.mark.parametrize(
    "arguments",
    [(), ("deploy",), ("inspect",), ("targets",), ("compare",), ("measure",)],
    ids=lambda value: " ".join(value) or "adaqat",
)
def test_help_imports_nothing_heavy(run_python: Run, arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from adaqat.deploy.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = run_python("-c", code, *arguments, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert "HEAVY []" in done.stdout


def test_module_entry_is_deploy(run_python: Run) -> None:
    done = run_python(*DEPLOY, "--help", COLUMNS="100")
    assert done.returncode == 0
    assert "--target" in done.stdout and "--out" in done.stdout


def test_deploys_and_verifies(run_python: Run, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_python(
        *DEPLOY, str(tiny_model), "--target", "c99", "-o", str(out), "--name", "tiny"
    )
    assert done.returncode == 0, done.stderr
    assert "all equal" in done.stdout and "net.conv" in done.stdout
    assert {"tiny.c", "tiny.h", "report.json", "manifest.json"} <= {f.name for f in out.iterdir()}
    again = run_python(
        *DEPLOY, str(tiny_model), "-t", "c99", "-o", str(out), "--name", "tiny", "--json",
        "--verify", "host", "--samples", "7",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report == json.loads((out / "report.json").read_text())
    (entry,) = report["verify"]
    assert (entry["executor"], entry["samples"], entry["mismatches"]) == ("host", 7, 0)
    assert [row["name"] for row in report["nodes"]] == ["conv", "again", "sum", "pool", "fc"]


def test_the_setting_is_named_and_nothing_is_predicted(
    run_python: Run, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_python(
        *DEPLOY, str(tiny_model), "-t", "cortex-m4", "-o", str(out), "--optimise", "size",
        "--verify", "host", "--samples", "3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--optimise size: no predicted cost, because" in done.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["target"]["optimise"] == "size"
    assert report["totals"]["predicted_cycles"] is None


def test_users_own_inputs(
    run_python: Run, tiny_model: Path, tiny_graph: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "floats.npy", np.random.default_rng(0).uniform(0, 4, (3, 2, 6, 6)))
    done = run_python(
        *DEPLOY, str(tiny_model), "-t", "c99", "-o", str(tmp_path / "out"), "--json", "--verify",
        "host", "--samples", "5", "--inputs", str(tmp_path / "floats.npy"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verify"][0]["samples"] == 8


def test_training_run_folder(run_python: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.adaqat").write_bytes(tiny_model.read_bytes())
    done = run_python(
        *DEPLOY, str(tmp_path / "run"), "-t", "c99", "-o", str(tmp_path / "out"), "--verify", "none"
    )
    assert done.returncode == 0, done.stderr
    assert "not verified" in done.stdout


def test_inspect(
    run_python: Run, tiny_model: Path, tiny_graph: Any, tmp_path: Path
) -> None:
    assert adaqat(run_python, "inspect", str(tiny_model), "--dump").stdout == tiny_graph.dump()
    rows = json.loads(adaqat(run_python, "inspect", str(tiny_model), "--json").stdout)["nodes"]
    assert [row["weight_bits"] for row in rows if row["weight_bits"]] == [3, 2, 4]
    assert "conv2d" in adaqat(run_python, "inspect", str(tiny_model)).stdout
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.adaqat").write_bytes(tiny_model.read_bytes())
    (run / "result.json").write_text('{"why": [{"name": "w:conv", "why": "3 bits would cost"}]}')
    assert "w:conv: 3 bits would cost" in adaqat(run_python, "inspect", str(run)).stdout
    (run / "result.json").write_text('{"why": [1]}')
    done = adaqat(run_python, "inspect", str(run))
    assert done.returncode == 2 and "result.json: cannot be read" in done.stderr


def test_trainer_help_through_adaqat(run_python: Run) -> None:
    code = (
        "import sys\n"
        "from adaqat.deploy.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('torch' in sys.modules)\n"
    )
    done = run_python("-c", code, "train", "--help", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "--budget" in done.stdout and done.stdout.strip().endswith("False")


def test_targets(run_python: Run) -> None:
    rows = json.loads(adaqat(run_python, "targets", "--json").stdout)
    assert {"c99", "cortex-m4", "cortex-m0plus"} <= {row["name"] for row in rows}
    assert "cortex-m4" in adaqat(run_python, "targets").stdout
    boards = {row["name"]: row["boards"] for row in rows}
    assert "nucleo-l4r5zi" in boards["cortex-m4"] and boards["c99"] == []


def test_mismatch_gives_exit_code_1(
    run_python: Run, tiny_model: Path, tmp_path: Path
) -> None:
    # the simulator is made to disagree with the emitted code by one output step
    code = (
        "import adaqat.deploy.verification as v\n"
        "real = v.simulate\n"
        "def wrong(graph, x, keep=False):\n"
        "    found = real(graph, x, keep=keep)\n"
        "    found['fc'] = found['fc'].copy()\n"
        "    found['fc'][0, 2] ^= 1\n"
        "    return found\n"
        "v.simulate = wrong\n"
        "from adaqat.deploy.cli import deploy_main; deploy_main()\n"
    )
    done = run_python(
        "-c", code, str(tiny_model), "-t", "c99", "-o", str(tmp_path / "out"), "--verify", "host"
    )
    assert done.returncode == 1, done.stderr
    assert "MISMATCHES" in done.stdout and "expected" in done.stdout


def test_compare(run_python: Run, tiny_model: Path) -> None:
    done = adaqat(run_python, "compare", str(tiny_model), "--json", "--budget", "ram_kb=64")
    assert done.returncode == 0, done.stderr
    rows = {row["target"]: row for row in json.loads(done.stdout)}
    assert {"cortex-m4", "cortex-m0plus"} <= set(rows)
    assert 0 < rows["cortex-m4"]["cycles"] < rows["cortex-m0plus"]["cycles"]
    missed = adaqat(
        run_python, "compare", str(tiny_model), "-t", "cortex-m", "--budget", "flash_kb=0.1"
    )
    assert missed.returncode == 1 and "flash_kb" in missed.stdout


def test_unexpected_errors_keep_their_traceback(run_python: Run, tiny_model: Path) -> None:
    code = (
        "import adaqat.deploy.model_source as s\n"
        "def fail(path): raise RuntimeError('a bug')\n"
        "s.load = fail\n"
        "from adaqat.deploy.cli import main; main()\n"
    )
    done = run_python("-c", code, "inspect", str(tiny_model))
    assert done.returncode == 1 and "Traceback" in done.stderr and "a bug" in done.stderr
