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

from ...hw_models import Fabric, fpga_boards_of, load_fabric
from ..errors import ToolError, UsageError
from ..report import Report
from .board import board_of, board_sources, for_board
from .circuit import Circuit
from .synthesis import counted, synthesis_command, synthesise
from .tools import INSTALL, call, yosys_version

SEEDS = (1, 2, 3)
"""Seeds of place and route; the slowest and the middle clock are reported."""
Progress = Callable[[str], None]


def add_synthesis(report: Report, circuit: Circuit, netlist: Path | None = None) -> None:
    """Fill in what yosys counts for the whole circuit; the netlist goes to a file when asked for.

    A circuit for a board is counted with the serial line around it.

    Raises:
        ToolError: yosys is missing or fails.
    """
    fabric = load_fabric(circuit.design.target.name)
    board, name = board_of(circuit), circuit.design.name
    around = board_sources(circuit, board) if board else {}
    top = f"{name}_board" if board else name
    cells = synthesise(circuit.design, fabric, netlist=netlist, around=around, top=top)
    made = counted(cells, top)
    report.totals.update(lut=made.lut, ff=made.ff, dsp=made.dsp, bram=made.bram)
    flags = synthesis_command(circuit.design, fabric)
    report.target.update(flags=f"{yosys_version()}: {flags}")


def add_route(
    report: Report, circuit: Circuit, out: Path, seeds: Sequence[int] = SEEDS
) -> None:
    """Synthesise, place and route; fill in the clock and the use of the device.

    ``fmax_mhz`` is the slowest over the seeds; it may miss the clock that rates are quoted at. The
    bitstream of the fastest seed goes to the folder ``out``; its pins are those of the board, or
    without one where the router put them.

    Raises:
        UsageError: a family without open place and route.
        ToolError: a tool is missing, or the circuit does not fit.
    """
    from ..artefact import add_file

    fabric = load_fabric(circuit.design.target.name)
    name = circuit.design.name
    board = board_of(circuit)
    check_route(fabric, board is not None)
    if board is not None:
        fabric = for_board(fabric, board, name)
    with tempfile.TemporaryDirectory(prefix="adaqat-route-") as made:
        folder = Path(made)
        add_synthesis(report, circuit, folder / "made.json")
        if board is not None:
            for file_name, text in board_sources(circuit, board).items():
                (folder / file_name).write_text(text, encoding="utf-8")
        found = route(folder, fabric, circuit.goals.clock_mhz, seeds)
        clocks = [one["fmax_mhz"] for one in found]
        best = seeds[clocks.index(max(clocks))]
        bits = f"{name}{'_board' if board else ''}.{fabric.bitstream}"
        packing = fabric.packer_flags.format(placed=f"made{best}.txt", bitstream=bits).split()
        call([*tool(fabric, fabric.packer), *packing],
             f"packing the bitstream for {fabric.device}", None, folder)  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / bits, out / bits)
        add_file(out, bits)
    report.totals.update(
        fmax_mhz=min(clocks),
        fmax_median_mhz=statistics.median(clocks),
        route={
            "device": fabric.device,
            "flags": fabric.router_flags,
            "seeds": list(seeds),
            "fmax_mhz": clocks,
            "used": found[0]["used"],
            "bitstream": bits,
            "critical_path": found[0]["critical_path"],
        },
    )


def check_route(fabric: Fabric, on_board: bool = True) -> None:
    """Refuse a family that has no open place and route, or needs pins and has none."""
    if not fabric.router:
        raise UsageError(
            f"--pnr: no open place and route for {fabric.title}; fpga-ecp5, fpga-gowin and"
            " fpga-ice40 have one; use --synth, and the maker's tool on the emitted Verilog"
        )
    if fabric.constrained and not on_board:
        raise UsageError(
            f"--pnr: place and route for {fabric.title} needs the pins of a board; --board with"
            f" {', '.join(fpga_boards_of(fabric.name))} is supported; give one, or use --synth"
        )


def tool(fabric: Fabric, name: str) -> list[str]:
    """Command of the family's nextpnr or of its packer: the PyPI package's, else that on PATH.

    Raises:
        ToolError: none, with an install line.
    """
    if name == "gowin_pack":
        if find_spec("apycula"):
            return [sys.executable, "-m", "apycula.gowin_pack"]
        package = ""
    else:
        package = f"yowasp_{fabric.router.replace('-', '_')}"
    if package and find_spec(package):
        start = f"run_{name.replace('-', '_')}"
        return [sys.executable, "-c",
                f"import sys, {package}; sys.exit({package}.{start}(sys.argv[1:]))"]  # fmt: skip
    path = shutil.which(name)
    if path:
        return [path]
    raise ToolError(f"{name}: not installed; place and route needs it; {INSTALL}")


def route(
    folder: Path, fabric: Fabric, clock_mhz: float, seeds: Sequence[int]
) -> list[Mapping[str, Any]]:
    """Clock and used cells of one run per seed, all of ``folder / "made.json"``.

    Every seed leaves its configuration as ``made<seed>.txt``.
    """
    command = tool(fabric, fabric.router)
    found: list[Mapping[str, Any]] = []
    for seed in seeds:
        call(
            [*command, *fabric.router_flags.split(), "--json", "made.json", "--report",
             "report.json", fabric.router_output, f"made{seed}.txt", "--freq",
             f"{clock_mhz:g}", "--seed", str(seed), "--timing-allow-fail", "-q"],
            f"place and route for {fabric.device}", None, folder,
        )  # fmt: skip
        result = json.loads((folder / "report.json").read_text())
        clocks = [clock["achieved"] for clock in result["fmax"].values()]
        used = {
            kind: cells["used"] for kind, cells in result["utilization"].items()
            if cells["used"]
        }  # fmt: skip
        found.append(
            {"fmax_mhz": min(clocks), "used": used, "critical_path": critical_path(result)}
        )
    return found


def critical_path(result: Mapping[str, Any]) -> list[str]:
    """The cells of the slowest path from clock to clock with their delays in ns."""
    paths = [
        path["path"] for path in result.get("critical_paths", ())
        if path["from"].startswith("posedge") and path["to"].startswith("posedge")
    ]  # fmt: skip
    if not paths:
        return []
    slowest = max(paths, key=lambda path: sum(step["delay"] for step in path))
    return [f"{step['delay']:.2f} {step['type']} {step['to']['cell']}" for step in slowest]
