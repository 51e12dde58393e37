# SPDX-License-Identifier: Apache-2.0
"""Reading .tflite files: hostile bytes, and the reference models where the data is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tflite_models import TfMaker

from adaqat.deploy import ModelFileError, ToolError, UnsupportedError, import_tflite, litert
from adaqat.deploy.emit import layout
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.litert import compare_with_litert
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host

DATA = Path(os.environ.get("ADAQAT_DATA", "data")) / "mlperf_tiny"


def small() -> bytes:
    make = TfMaker(0)
    x = make.tensor([1, 4, 4, 2], 0.05, 3)
    w = make.weights([3, 2, 2, 2], 0)
    y = make.tensor([1, 4, 4, 3], 0.04, -1)
    make.op("CONV_2D", [x, w, make.bias(3)], y, 3, options="Conv2DOptions", strideH=1, strideW=1)
    return make.data(x, y)


def test_truncated_and_changed_files_never_break(tmp_path):
    path, data = tmp_path / "m.tflite", small()
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for trial in range(240):
        bad = bytearray(data)
        if trial % 4 == 0:
            bad = bad[: int(rng.integers(8, len(bad)))]
        for _ in range(int(rng.integers(1, 6))):
            bad[int(rng.integers(8, len(bad))) if len(bad) > 8 else 0] = int(rng.integers(0, 256))
        path.write_bytes(bytes(bad))
        try:
            import_tflite(path)
            outcomes["read"] += 1
        except (ModelFileError, UnsupportedError):
            outcomes["refused"] += 1
    assert outcomes["refused"] > 50 and outcomes["read"] > 10


@pytest.mark.parametrize("data", [b"", b"abc", b"\0" * 64, b"\x10\0\0\0TFL3" + b"\xff" * 60])
def test_foreign_files(data, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"m\.tflite: (no TFLite file|inconsistent)"):
        import_tflite(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        import_tflite(tmp_path / "none.tflite")


def test_without_an_interpreter(monkeypatch, tmp_path):
    monkeypatch.setattr(litert, "PACKAGES", ("no_such_package.interpreter",))
    assert not litert.has_runtime()
    with pytest.raises(ToolError, match=r"LiteRT: no interpreter.*adaqat-deploy\[tflite\]"):
        litert.Reference(small())


@pytest.mark.parametrize("name", ["ic_resnet8_int8", "kws_dscnn_int8"])
def test_reference_models(name):
    path = DATA / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set ADAQAT_DATA to the data folder")
    found = read_tflite(path)
    codes = make_inputs(found.graph, samples=12)
    entry = compare_with_litert(path, codes, found)
    assert entry["values"] > 500_000
    assert entry["mismatches"] == 0, entry["first_mismatch"]
    result = compare_host(layout(found.graph, get("c99"), "net"), codes).result()
    assert result.mismatches == 0, result.first_mismatch


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["ic_resnet8_int8", "kws_dscnn_int8"])
def test_reference_models_on_many_inputs(name):
    path = DATA / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set ADAQAT_DATA to the data folder")
    pytest.importorskip("unicorn")
    from adaqat.deploy import verify

    found = read_tflite(path)
    codes = make_inputs(found.graph, samples=200)
    images = DATA.parent / "cifar-10-batches-py" / "test_batch"
    if name.startswith("ic") and images.is_file():
        import pickle

        with images.open("rb") as file:
            raw = pickle.load(file, encoding="bytes")[b"data"][:200]
        codes = (raw.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(int) - 128).astype(np.int8)
    entry = compare_with_litert(path, codes, found)
    assert entry["mismatches"] == 0, entry["first_mismatch"]
    for executor in ("host", "emulator"):
        part = codes if executor == "host" else codes[:2]
        assert verify(found.graph, "cortex-m4", part, executor=executor).mismatches == 0


@pytest.mark.parametrize("rounding", ["tflite", "native"])
def test_the_command_line(rounding, tmp_path, run_python):
    import json

    path, out = tmp_path / "m.tflite", tmp_path / "out"
    path.write_bytes(small())
    done = run_python("-m", "adaqat.deploy", str(path), "-t", "c99", "-o", str(out), "--json",
                      "--rounding", rounding)  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    executors = [entry["executor"] for entry in report["verify"]]
    if rounding == "tflite":
        assert executors == ["host", litert.EXECUTOR]
    else:
        assert executors == ["host"]
        assert report["model"]["rounding"]["values"] == 32 * 48
        assert "integers differ from TFLite's" in done.stderr
    assert all(entry["mismatches"] == 0 for entry in report["verify"])
    assert (out / "net.c").is_file()


def test_an_unsupported_model_leaves_no_folder(tmp_path, run_python):
    make = TfMaker(0)
    x, y = make.tensor([1, 4, 4, 2]), make.tensor([1, 4, 4, 2], name="block/elu")
    make.op("ELU", [x], y)
    path, out = tmp_path / "m.tflite", tmp_path / "out"
    path.write_bytes(make.data(x, y))
    done = run_python("-m", "adaqat.deploy", str(path), "-t", "c99", "-o", str(out))
    assert done.returncode == 3 and not out.exists()
    assert "block/elu (ELU): operator ELU" in done.stderr and "Traceback" not in done.stderr
