# SPDX-License-Identifier: Apache-2.0
"""Folded or unrolled: which engine a layer gets, and how it is asked for."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from nets import every_operator
from unrolled_nets import small

from adaqat.deploy import UsageError
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.cost import module_resources
from adaqat.deploy.rtl.engines import check_engines, engine_of, parse_engines, unrolled_plans
from adaqat.deploy.rtl.folding import choices, choose_folds
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.options import circuit_goals
from adaqat.deploy.rtl.report import circuit_report
from adaqat.deploy.rtl.schedule import busy
from adaqat.deploy.targets import get
from adaqat.hw_models import load_fabric


def test_the_smaller_engine_is_chosen(monkeypatch):
    """By predicted LUTs, over everything that both engines offer at the rate."""
    net, target = small(3, 4, signed=False), get("fpga-ecp5")
    fabric = load_fabric(target.name)
    for interval, fast in ((100_000, False), (48, True)):
        goals = Goals(100.0, interval)
        folds = choose_folds(net, target, goals)
        assert folds["first"].unrolled == fast
        for node in net.nodes:
            if not node.op.unrolls:
                continue
            every = [(c.cycles, c.lut) for c in choices(net, node, fabric)]
            every += [
                (busy(p.timing), round(module_resources(p, fabric).lut))
                for _, p in unrolled_plans(net, node, fabric, float("inf"))
            ]
            plan = node.op.rtl_plan(net.inputs_of(node), node.output, folds[node.name])
            least = min(lut for cycles, lut in every if cycles <= interval)
            assert round(module_resources(plan, fabric).lut) == least


def test_engines_can_be_forced():
    net, target = small(3, 4, signed=False), get("fpga-ecp5")

    def of(texts, interval):
        goals = replace(Goals(100.0, interval), engines=parse_engines(texts))
        folds = choose_folds(net, target, goals)
        return {n.name for n in net.nodes if n.op.unrolls and folds[n.name].unrolled}

    every = {n.name for n in net.nodes if n.op.unrolls}
    assert of(["unrolled"], 100_000) == every
    assert of(["folded"], 300) == set()
    assert of(["unrolled", "first=folded"], 100_000) == every - {"first"}
    assert of(["folded", "depth=unrolled"], 100_000) == {"depth"}
    report = circuit_report(
        plan_circuit(net, target, "net", Goals(100.0, 100_000, engines=(("depth", "unrolled"),)))
    )
    rows = {row["name"]: row for row in report.nodes}
    assert (rows["depth"]["engine"], rows["first"]["engine"]) == ("unrolled", "folded")
    assert rows["depth"]["adders"] > 0 and rows["first"]["adders"] is None
    assert rows["depth"]["rom_bits"] == 0


def test_engines_from_texts(monkeypatch):
    assert parse_engines([]) == ()
    for text in ("fast", "conv=", "=unrolled", "conv=both"):
        with pytest.raises(UsageError, match=r"--engine: .*auto, folded, unrolled is supported"):
            parse_engines([text])
    with pytest.raises(UsageError, match=r"all layers given twice"):
        parse_engines(["folded", "unrolled"])
    with pytest.raises(UsageError, match=r"first given twice"):
        parse_engines(["first=folded", "first=auto"])
    net = every_operator(2, 2, signed=False)
    with pytest.raises(UsageError) as caught:
        check_engines(net, parse_engines(["stem2=unrolled", "mean=unrolled"]))
    text = str(caught.value)
    assert "stem2=unrolled: no such layer; layers with a choice are stem, direct" in text
    assert "mean=unrolled: operator avgpool2d has one engine" in text
    monkeypatch.setattr("adaqat.deploy.rtl.engines.MOST_WEIGHTS", 200)
    with pytest.raises(UsageError, match=r"stem has 360 weights; up to 200 .*stem=folded"):
        check_engines(net, parse_engines(["unrolled"]))
    check_engines(net, parse_engines(["unrolled", *(f"{n.name}=folded" for n in net.nodes
                                                    if n.op.weight_count > 200)]))  # fmt: skip
    assert engine_of(net["mean"], parse_engines(["unrolled"])) == "folded"
    assert engine_of(net["stem"], ()) == "auto"


def test_unrolled_weights_cannot_be_written():
    for engine in ("unrolled", "conv=unrolled"):
        with pytest.raises(UsageError, match=r"weights of unrolled layers are adders"):
            circuit_goals(get("fpga-ecp5"), "net", [], [engine], reload=True)
    goals = circuit_goals(get("fpga-ecp5"), "net", [], ["folded"], reload=True)
    assert goals is not None and goals.reload


def test_the_command_line_passes_engines_on(run_python, tmp_path):
    out = str(tmp_path / "out")

    def refused(*arguments):
        done = run_python("-m", "adaqat.deploy", *arguments, "-o", out)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert not (tmp_path / "out").exists()
        return re.sub(r"[\s│]+", " ", done.stderr)

    text = refused("--target", "c99", "--engine", "folded")
    assert "--engine: target c99 emits C; engines are those of FPGA targets" in text
    text = refused("--target", "fpga-ecp5", "--verify", "none", "--engine", "nothing=unrolled")
    assert "--engine nothing=unrolled: no such layer; layers with a choice are" in text
