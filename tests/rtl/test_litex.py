# SPDX-License-Identifier: Apache-2.0
"""The emitted LiteX module: it elaborates, and its ports are those of the circuit."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import replace

import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.project import project
from adaqat.deploy.targets import get


def folder_of(tmp_path, reload):
    make = Maker(1, 3)
    x = input_node((4, 4, 3), IntType(3, False))
    net = graph(x, make.conv("conv", x, 4, IntType(3, False)))
    goals = replace(Goals.of(get("fpga")), reload=reload)
    for name, text in project(plan_circuit(net, get("fpga"), "net", goals, {})).items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("reload", [False, True])
def test_the_module_is_python(reload, tmp_path):
    text = (folder_of(tmp_path, reload) / "net_litex.py").read_text()
    compile(text, "net_litex.py", "exec")
    assert '"net.v", ' in text and '"net_n0_conv_weights.hex", ' in text
    assert ("AXILiteInterface" in text) == reload


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("reload", [False, True])
def test_the_module_elaborates_with_the_circuit(reload, tmp_path):
    pytest.importorskip("litex", reason="litex is not installed")
    from litex.gen.fhdl.verilog import convert
    from migen import ClockDomain

    folder = folder_of(tmp_path, reload)
    spec = importlib.util.spec_from_file_location("net_litex", folder / "net_litex.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    top = module.NetRegisters(module.Net())
    top.clock_domains.sys = clocks = ClockDomain("sys")
    ios = {top.put.storage, top.put.re, top.status.status, top.got.status, top.next.re,
           clocks.clk, clocks.rst}  # fmt: skip
    convert(top, ios=ios, name="soc").write(str(folder / "soc.v"))
    done = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-o", "soc.vvp", "-s", "soc", "soc.v", "net.v"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    # a port that the circuit does not have, or of another width, would be told here
    assert done.returncode == 0, done.stderr
    assert "expects" not in done.stderr and "not a port" not in done.stderr, done.stderr
