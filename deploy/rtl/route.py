# SPDX-License-Identifier: Apache-2.0
"""Synthesis and place and route of a circuit, as options of a deployment."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...hw_models import Fabric, load_fabric
from ..errors import ToolError, UsageError
from ..report import Report
from .circuit import Circuit
from .simulation import sources
from .synthesis import counted, synthesise
from .tools import INSTALL, call, yosys, yosys_version

SEEDS = (1, 2, 3)
"""Seeds of place and route; the slowest and the middle clock are reported."""
Progress = Callable[[str], None]


def add_synthesis(report: Report, circuit: Circuit) -> None:
    """Fill in what yosys counts for the whole circuit.

    Raises:
        ToolError: yosys is missing or fails.
    """
    fabric = load_fabric(circuit.design.target.name)
    cells = synthesise(circuit.design, fabric)
    made = counted(cells, circuit.design.name)
    report.totals.update(lut=made.lut, ff=made.ff, dsp=made.dsp, bram=made.bram)
    report.target.update(flags=f"{yosys_version()}: {fabric.synthesis}")


def add_route(report: Report, circuit: Circuit, seeds: Sequence[int] = SEEDS) -> None:
    """Fill in the clock and the use of the device after place and route.

    ``fmax_mhz`` is the slowest over the seeds; it may miss the clock that rates are quoted at.

    Raises:
        UsageError: a family without open place and route.
        ToolError: a tool is missing, or the circuit does not fit.
    """
    fabric = load_fabric(circuit.design.target.name)
    check_route(fabric)
    found = route(circuit, fabric, seeds)
    clocks = [one["fmax_mhz"] for one in found]
    report.totals.update(
        fmax_mhz=min(clocks),
        fmax_median_mhz=statistics.median(clocks),
        route={
            "device": fabric.device,
            "flags": fabric.router_flags,
            "seeds": list(seeds),
            "fmax_mhz": clocks,
            "used": found[0]["used"],
        },
    )


def check_route(fabric: Fabric) -> None:
    """Refuse a family that has no open place and route."""
    if not fabric.router:
        raise UsageError(
            f"--pnr: no open place and route for {fabric.title}; fpga-ecp5 and fpga-ice40 have one;"
            " use --synth, and the maker's tool on the emitted Verilog"
        )


def router(fabric: Fabric) -> list[str]:
    """Command of the family's nextpnr: the PyPI package's, else the one on PATH.

    Raises:
        ToolError: none, with an install line.
    """
    name = fabric.router
    package = f"yowasp_{name.replace('-', '_')}"
    if find_spec(package):
        start = f"run_{name.replace('-', '_')}"
        return [sys.executable, "-c",
                f"import sys, {package}; sys.exit({package}.{start}(sys.argv[1:]))"]  # fmt: skip
    path = shutil.which(name)
    if path:
        return [path]
    raise ToolError(f"{name}: not installed; place and route needs it; {INSTALL}")


def route(circuit: Circuit, fabric: Fabric, seeds: Sequence[int]) -> list[Mapping[str, Any]]:
    """Clock and used cells of one run per seed, all of one synthesis."""
    name = circuit.design.name
    command = router(fabric)
    found: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="adaqat-route-") as made:
        folder = Path(made)
        for file_name, text in sources(circuit.design).items():
            (folder / file_name).write_text(text, encoding="utf-8")
        script = f"read_verilog {name}.v; {fabric.synthesis} -top {name} -json made.json"
        call([*yosys(), "-q", "-p", script], "yosys on the emitted RTL", None, folder)
        for seed in seeds:
            call(
                [*command, *fabric.router_flags.split(), "--json", "made.json", "--report",
                 "report.json", "--freq", f"{circuit.goals.clock_mhz:g}", "--seed", str(seed),
                 "--timing-allow-fail", "-q"],
                f"place and route for {fabric.device}", None, folder,
            )  # fmt: skip
            result = json.loads((folder / "report.json").read_text())
            clocks = [clock["achieved"] for clock in result["fmax"].values()]
            used = {
                kind: cells["used"] for kind, cells in result["utilization"].items()
                if cells["used"]
            }  # fmt: skip
            found.append({"fmax_mhz": min(clocks), "used": used})
    return found
