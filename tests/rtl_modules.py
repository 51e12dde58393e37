# SPDX-License-Identifier: Apache-2.0
"""Modules of the emitted library by themselves: run in Icarus, made into cells by yosys."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adaqat.deploy.rtl.synthesis import LUT_CELLS
from adaqat.deploy.rtl.tools import call, yosys
from adaqat.deploy.rtl.words import print_template


def shown(text: str, parts: Sequence[str], steps: Sequence[str], folder: Path) -> list[str]:
    """What a bench of these declarations and steps displays about the modules in ``text``."""
    bench = "\n".join([*parts, "initial begin", *steps, '$display("all"); end', "endmodule"])
    (folder / "bench.v").write_text(text + bench)
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "bench.v"], cwd=folder, check=True)
    made = subprocess.run(["./bench"], cwd=folder, capture_output=True, text=True, check=True)
    *found, end = made.stdout.splitlines()
    assert end == "all"
    return found


def synthesised(
    top: str, text: str, parameters: Mapping[str, int], folder: Path
) -> tuple[list[dict[str, Any]], int]:
    """(cells, LUTs) of a module by itself on ECP5; the netlist is ``made.json``."""
    (folder / "net.v").write_text(text)
    (folder / "net_cells.v").write_text(print_template("verilog/cells/ccu2c.v.j2", name="net"))
    chosen = " ".join(f"-chparam {name} {value}" for name, value in parameters.items())
    script = [
        "read_verilog -D ADAQAT_CELLS net.v", f"hierarchy -top {top} {chosen}",
        "techmap -map net_cells.v", f"synth_ecp5 -nodsp -nowidelut -top {top}",
        f"rename -top {top}", "write_json made.json",
    ]  # fmt: skip
    call([*yosys(), "-q", "-p", "; ".join(script)], "a module by itself", None, folder)
    netlist = json.loads((folder / "made.json").read_text())
    cells = list(netlist["modules"][top]["cells"].values())
    return cells, sum(LUT_CELLS.get(cell["type"], 0) for cell in cells)
