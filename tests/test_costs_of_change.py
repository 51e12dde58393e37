# SPDX-License-Identifier: Apache-2.0
"""What an extension costs: each one is added to a copy of the packages, by its files alone."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGES = ("deploy", "hw_models", "templates", "train")

OPERATOR = '''# SPDX-License-Identifier: Apache-2.0
"""Codes mirrored within their range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...hw_models.work import Work, elementwise_work
from ..types import IntArray, IntType
from .base import CPlan, Op, TensorInfo


@dataclass(frozen=True, eq=False)
class Mirror(Op):
    """``y = top - x``."""

    top: int
    kind: ClassVar[str] = "mirror"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        return inputs[0].shape, inputs[0].type

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        return self.top - inputs[0]

    def work(self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels=()) -> Work:
        return elementwise_work(self.kind, output.size, 1, output.type.bits, output.type.signed)

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        return CPlan("mirror", {"elements": output.size, "top": self.top})
'''

TEMPLATE = """{{ macro }}_NODE {{ ident }}(const {{ inputs[0] }} *in, {{ output }} *out)
{
    for (uint32_t i = 0u; i < {{ v.elements }}u; ++i) {
        out[i] = ({{ output }})({{ v.top }} - (int32_t)in[i]);
    }
}
"""

RTL_PLAN = '''
    def rtl_plan(self, inputs, output, fold):
        from ..rtl.elementwise import port, store_of
        from ..rtl.plan import MapTiming, RtlPlan

        stream = port(output, 1)
        timing = MapTiming(((0,),), stream.beats, 1, 0, 3)
        values = {"top": self.top, "depth": 3, "store": store_of(3)}
        return RtlPlan("mirror", values, (stream,), stream, timing)
'''

RTL_TEMPLATE = """{% import "verilog/_queue.j2" as queue with context %}
module {{ ident }} (
{{ queue.ports(inputs, output) }});
    wire take;
{{ queue.credits(v.depth) }}
    assign take = room & in0_valid;
    assign in0_ready = room;
    wire [{{ output.width - 1 }}:0] code = {{ code(v.top, output.width) }} - in0_data;
    wire code_valid = take;
{{ queue.results(name, v.store, v.depth, output.width) }}
endmodule
"""

USE_OPERATOR = """
import sys
from adaqat.deploy import Graph, IntType, Node, build, check, load, save, verify
from adaqat.deploy.ops import REGISTRY
from adaqat.deploy.ops.source import Input
from adaqat.deploy.vectors import make_inputs

x = Node.make("x", Input((3, 3, 2), IntType(4, False), "NHWC"), ())
y = Node.make("y", REGISTRY["mirror"](top=15), (x,))
graph = check(Graph("mirrored", (x, y), "y"))
save(graph, "m.adaqat")
assert load("m.adaqat").model_id == graph.model_id
build(graph, "c99", "out")
report = verify(graph, "c99", make_inputs(graph, samples=9), executor="host")
print("mismatches", report.mismatches, "of", report.verify[0]["values"])
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A folder that holds a copy of the packages as ``adaqat``."""
    for name in PACKAGES:
        shutil.copytree(
            root / name, tmp_path / "adaqat" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_a_new_operator_is_one_module_and_one_template(copy: Path, run_python: Run) -> None:
    (copy / "adaqat/deploy/ops/mirror.py").write_text(OPERATOR)
    (copy / "adaqat/templates/c/ops/mirror.c.j2").write_text(TEMPLATE)
    done = run_python("-c", USE_OPERATOR, cwd=copy, path=copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mismatches 0 of")


def test_a_new_operator_in_verilog_is_one_more_template(copy: Path, run_python: Run) -> None:
    (copy / "adaqat/deploy/ops/mirror.py").write_text(OPERATOR + RTL_PLAN)
    (copy / "adaqat/templates/verilog/ops/mirror.v.j2").write_text(RTL_TEMPLATE)
    code = USE_OPERATOR.replace('"c99"', '"fpga"').replace('"host"', '"rtl"')
    done = run_python("-c", code, cwd=copy, path=copy)
    if "pip install" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mismatches 0 of")


def test_an_operator_without_verilog_is_named(copy: Path, run_python: Run) -> None:
    (copy / "adaqat/deploy/ops/mirror.py").write_text(OPERATOR)
    (copy / "adaqat/templates/c/ops/mirror.c.j2").write_text(TEMPLATE)
    done = run_python("-c", USE_OPERATOR.replace('"c99"', '"fpga"'), cwd=copy, path=copy)
    assert done.returncode != 0
    assert "operator mirror has no Verilog template" in done.stderr


def test_an_operator_without_template_is_named(copy: Path, run_python: Run) -> None:
    (copy / "adaqat/deploy/ops/mirror.py").write_text(OPERATOR)
    done = run_python("-c", USE_OPERATOR, cwd=copy, path=copy)
    assert done.returncode != 0
    assert "operator mirror has no C template" in done.stderr


def test_a_kind_defined_twice_is_refused(copy: Path, run_python: Run) -> None:
    for name in ("mirror", "mirror_again"):
        (copy / f"adaqat/deploy/ops/{name}.py").write_text(OPERATOR)
    done = run_python("-c", "import adaqat.deploy", cwd=copy, path=copy)
    assert done.returncode != 0
    assert "'mirror' is defined twice" in done.stderr


def test_a_new_microcontroller_is_one_table(copy: Path, run_python: Run) -> None:
    text = (copy / "adaqat/hw_models/cores/cortex-m4.toml").read_text()
    mine = text.replace('"cortex-m4"', '"my-mcu"', 1).replace("Arm Cortex-M4", "My own MCU")
    (copy / "adaqat/hw_models/cores/my-mcu.toml").write_text(mine)
    done = run_python(
        "-c",
        "from adaqat.deploy import targets\n"
        "target = targets.get('my-mcu')\n"
        "print(target.name, target.core, target.family)",
        cwd=copy,
        path=copy,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["my-mcu", "my-mcu", "c"]


def _computing_kinds() -> list[str]:
    ops = importlib.import_module("adaqat.deploy.ops")
    return sorted(kind for kind, op in ops.REGISTRY.items() if op.c_plan is not ops.Op.c_plan)


def test_every_operator_has_its_template_and_its_test(root: Path) -> None:
    ops = importlib.import_module("adaqat.deploy.ops")
    for kind in _computing_kinds():
        assert (root / f"templates/c/ops/{kind}.c.j2").is_file(), f"{kind}: no C template"
        module = ops.REGISTRY[kind].__module__.rsplit(".", 1)[-1]
        test = root / f"tests/ops/test_{module}.py"
        assert test.is_file(), f"{kind}: no test file {test}"
        assert kind.removesuffix("2d") in test.read_text().lower(), f"{kind}: not in {test}"
    verilog = {f.name.removesuffix(".v.j2") for f in (root / "templates/verilog/ops").glob("*.j2")}
    # FPGA targets name the operators they lack; one with a circuit has exactly one template.
    assert verilog == {k for k in _computing_kinds() if "rtl_plan" in vars(ops.REGISTRY[k])}
    spare = {file.name.removesuffix(".c.j2") for file in (root / "templates/c/ops").glob("*.c.j2")}
    assert spare == set(_computing_kinds())
