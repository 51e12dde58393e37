# SPDX-License-Identifier: Apache-2.0
"""ONNX files at the command line, in and out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import OnnxMaker, onnx, save

from adaqat.deploy import import_onnx, load, simulate
from adaqat.deploy.vectors import make_inputs

MAIN = "import sys; from adaqat.deploy.cli import {0}; sys.argv[0] = 'adaqat'; {0}()"
DEPLOY, ADAQAT = (["-c", MAIN.format(name)] for name in ("deploy_main", "main"))


@pytest.fixture
def model(tmp_path) -> Path:
    make = OnnxMaker(2)
    x = make.node("Conv", [make.qdq("x", 0.02, 3), make.weights((4, 2, 3, 3), axis=0)])
    x = make.node("Flatten", [make.qdq(make.node("Relu", [x]), 0.03, -128)])
    y = make.node("Gemm", [x, make.weights((64, 5), axis=1), make.const(np.arange(5.0))])
    y = make.qdq(y, 0.1)
    return save(make.model(y, [1, 2, 6, 6], out_dtype="float32"), tmp_path)


@pytest.mark.parametrize("target", ["cortex-m4", "c99"])
def test_deploy(run_python, model, tmp_path, target):
    if target == "cortex-m4":
        pytest.importorskip("unicorn")
    done = run_python(*DEPLOY, str(model), "-t", target, "-o", str(tmp_path / "out"),
                      "--samples", "6", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "native rounding" in done.stderr and "of 6 largest outputs" in done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    executors = [entry["executor"] for entry in report["verify"]]
    assert ("cortex-m4" in executors) == (target == "cortex-m4")
    assert all(entry["mismatches"] == 0 and entry["values"] > 0 for entry in report["verify"])
    rounding = report["model"]["rounding"]
    assert rounding["values"] == 30 and rounding["largest"] <= 1
    graph, emitted = import_onnx(model), load(tmp_path / "out" / "model.adaqat")
    codes = make_inputs(graph, samples=4)
    assert np.array_equal(simulate(graph, codes), simulate(emitted, codes))


def test_an_unsupported_model_leaves_nothing(run_python, tmp_path):
    make = OnnxMaker(2)
    y = make.node("GRU", [make.qdq("x", 0.02)], name="memory")
    path = save(make.model(make.node("Mystery", [y]), [1, 2, 6]), tmp_path)
    done = run_python(*DEPLOY, str(path), "-t", "c99", "-o", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "memory (GRU)" in done.stderr and "Mystery" in done.stderr
    assert not (tmp_path / "out").exists()


def test_export(run_python, tiny_model, tiny_graph, tmp_path):
    out = tmp_path / "net.onnx"
    done = run_python(*ADAQAT, "export", str(tiny_model), "-o", str(out), cwd=tmp_path)
    assert done.returncode == 0 and "net.onnx" in done.stderr
    onnx.checker.check_model(onnx.load(str(out)))
    codes = make_inputs(tiny_graph, samples=6)
    assert np.array_equal(simulate(import_onnx(out), codes), simulate(tiny_graph, codes))
    refused = run_python(*ADAQAT, "export", str(tiny_model), "-o", "net.txt", cwd=tmp_path)
    assert refused.returncode == 2 and ".onnx and .tflite files are written" in refused.stderr


def test_the_comparison_counts_differences(model, tmp_path):
    from adaqat.deploy.onnx_reference import compare_with_onnx

    graph = import_onnx(model)
    codes = make_inputs(graph, samples=8)
    found = compare_with_onnx(model, graph, codes)
    assert found["values"] == 40 and found["largest"] <= 1
    changed = onnx.load(str(model))
    scale = next(t for t in changed.graph.initializer if t.name == changed.graph.node[0].input[1])
    value = onnx.numpy_helper.to_array(scale) * np.float32(2)
    scale.CopyFrom(onnx.numpy_helper.from_array(value, scale.name))
    onnx.save(changed, str(tmp_path / "other.onnx"))
    assert compare_with_onnx(tmp_path / "other.onnx", graph, codes)["largest"] > 1
