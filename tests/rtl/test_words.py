# SPDX-License-Identifier: Apache-2.0
"""No emitted name is a keyword of SystemVerilog: Vivado, Quartus and Verilator read .v as that."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from moving_nets import moving
from nets import every_operator

from adaqat.deploy import UsageError
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.design import lay_out
from adaqat.deploy.rtl.emit import verilog
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.options import add_energy, check_power
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.project import project
from adaqat.deploy.rtl.report import circuit_report
from adaqat.deploy.rtl.words import SYSTEM_VERILOG, VERILOG
from adaqat.deploy.targets import get


def code(text: str) -> str:
    """Verilog without comments and strings."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"[^"\n]*"', " ", text, flags=re.S)


@pytest.mark.parametrize("reload", [False, True])
def test_no_word_of_systemverilog_is_used_in_any_emitted_file(tiny_graph, reload):
    target = get("fpga-ice40")
    goals = replace(Goals.parse([], target, board="icebreaker"), reload=reload)
    texts = project(plan_circuit(tiny_graph, target, "net", goals, {}))
    assert sum(name.endswith(".v") for name in texts) == 4 + reload
    for bits in (3, 6):
        # serial and parallel forms, thresholds and products
        net = moving(bits, signed=True) if reload else every_operator(3, bits, signed=False)
        folds = {node.name: Fold(serial=bits == 6) for node in net.nodes}
        texts[f"{bits}.v"] = verilog(lay_out(net, target, "net", folds))
    only = SYSTEM_VERILOG - VERILOG
    for name in (name for name in texts if name.endswith(".v")):
        words = set(re.findall(r"(?<![\w$.'])[a-z_]\w*", code(texts[name])))
        assert len(words) > 30
        assert not words & only, f"{name}: {sorted(words & only)}"


def test_the_check_finds_a_keyword():
    assert "before" in code("reg before; // unique") and "unique" not in code("wire a; // unique")
    assert {"before", "unique", "logic", "bit", "inside"} <= SYSTEM_VERILOG
    assert {"table", "wire", "small", "large", "config"} <= VERILOG


def test_joules_only_from_a_measured_power(tiny_graph):
    circuit = plan_circuit(tiny_graph, get("fpga"), "net", folds={})
    report = circuit_report(circuit)
    add_energy(report, None)
    assert report.totals["power_w"] is None and report.totals["energy_per_frame_j"] is None
    add_energy(report, 0.5)
    assert report.totals["energy_per_frame_j"] == 0.5 / report.totals["frames_per_second"]
    for power in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="positive number of watts"):
            check_power(get("fpga"), power)
    with pytest.raises(UsageError, match="is a processor"):
        check_power(get("cortex-m4"), 0.5)
