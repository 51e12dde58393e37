# SPDX-License-Identifier: Apache-2.0
"""What yosys makes of a circuit: cells by module, netlists for place and route."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...hw_models import Fabric
from .design import Design
from .dsp import steering, uses_slices
from .lane_sums import cell_map
from .simulation import sources
from .tools import call, yosys

Cells = Mapping[str, Mapping[str, int]]
"""Cells by type, by module; an instance of a module is a cell of its type."""
LUT_CELLS = {
    "SB_LUT4": 1, "LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4, "LUT1": 1, "LUT2": 1, "LUT3": 1,
    "LUT5": 1, "LUT6": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "ALU": 1,
    "RAM16SDP4": 4,
}  # fmt: skip
"""LUTs that a cell stands for: an ECP5 carry cell holds two LUTs, LUT memories their LUTs."""
FF_CELLS = ("SB_DFF", "TRELLIS_FF", "DFF", "FDRE", "FDSE", "FDCE", "FDPE")
DSP_CELLS = ("SB_MAC16", "MULT18X18D", "DSP48E1")
BRAM_CELLS = {
    "SB_RAM40_4K": 1, "DP16KD": 1, "PDPW16KD": 1, "RAMB18E1": 1, "RAMB36E1": 2, "SDPB": 1,
    "SDPX9B": 1, "DPB": 1, "DPX9B": 1, "pROM": 1, "pROMX9": 1, "SP": 1, "SPX9": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Synthesised:
    """Counts of a module with everything below it."""

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram: int = 0


def synthesise(
    design: Design, fabric: Fabric, *, flatten: bool = True, netlist: Path | None = None,
    parts: Path | None = None, around: Mapping[str, str] | None = None, top: str = "",
) -> Cells:
    """Cells of a design by module; with ``flatten`` all of them are in the top module.

    ``netlist`` is where the JSON goes that place and route reads; ``parts`` a folder for a netlist
    of every module by itself (``<identifier>.json``), which goes without ``flatten``. ``around``
    are Verilog files that stand around the design, with ``top`` as the top module.

    Raises:
        ToolError: yosys is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="adaqat-yosys-") as made:
        folder = Path(made)
        texts = {**sources(design), **(around or {})}
        for name, text in {**texts, **cell_map(design, fabric)}.items():
            (folder / name).write_text(text, encoding="utf-8")
        files = " ".join(sorted(name for name in texts if name.endswith(".v")))
        if flatten:
            commands = synthesis_commands(design, fabric, top)
        else:
            top = top or design.name
            commands = [
                *mapping(design, fabric, top), f"{fabric.synthesis}{_apart(fabric)} -top {top}"
            ]  # fmt: skip
        script = [reading(design, fabric, files), *commands]
        script.append("tee -q -o stat.json stat -json")
        if netlist:
            script.append("write_json made.json")
        if parts:
            script.append("design -save all")
            for module in design.modules:
                script += ["design -load all", f"hierarchy -top {module.ident}", "flatten",
                           "opt_clean", f"write_json {module.ident}.json"]  # fmt: skip
        call([*yosys(), "-q", "-p", "; ".join(script)], "yosys on the emitted RTL", None, folder)
        found = json.loads((folder / "stat.json").read_text())["modules"]
        if netlist:
            shutil.copyfile(folder / "made.json", netlist)
        if parts:
            for module in design.modules:
                file = f"{module.ident}.json"
                shutil.copyfile(folder / file, parts / file)
    return {
        name.lstrip("\\"): {
            kind: int(cell if isinstance(cell, int) else cell["count"])
            for kind, cell in module["num_cells_by_type"].items()
        }
        for name, module in found.items()
    }


def _apart(fabric: Fabric) -> str:
    """The flag that keeps modules apart; synthesis for 7-series keeps them anyway."""
    return "" if "xilinx" in fabric.synthesis else " -noflatten"


def synthesis_commands(design: Design, fabric: Fabric, top: str = "") -> list[str]:
    """The yosys commands that make one netlist of a design, or of ``top`` around it, that was read.

    Where a family's designs are large, modules are synthesised one by one and joined afterwards:
    equal dot products are made once, and time grows with the size of a module, not of the design.
    """
    command, top = synthesis_command(design, fabric), top or design.name
    first = [*steering(design, top), *mapping(design, fabric, top)]
    if fabric.by_module:
        return [*first, f"{command}{_apart(fabric)} -top {top}", "flatten", "opt_clean"]
    return [*first, f"{command} -top {top}"]


def reading(design: Design, fabric: Fabric, files: str) -> str:
    """The yosys command that reads a design: its chains are made of cells where they are mapped."""
    return f"read_verilog {'-D ADAQAT_CELLS ' if cell_map(design, fabric) else ''}{files}"


def mapping(design: Design, fabric: Fabric, top: str) -> list[str]:
    """Yosys commands, after all was read, that turn gated sums into the family's carry cells.

    The hierarchy comes first: only modules that have their parameters hold cells to replace.
    """
    files = cell_map(design, fabric)
    return [f"hierarchy -top {top}", *(f"techmap -map {name}" for name in files)] if files else []


def synthesis_command(design: Design, fabric: Fabric) -> str:
    """The family's synthesis command: with DSP slices where any product of the design has one."""
    return fabric.dsp_synthesis if uses_slices(design) else fabric.synthesis


def counted(cells: Cells, module: str) -> Synthesised:
    """Cells of a module with everything below it."""
    lut = ff = dsp = bram = 0
    for kind, count in cells[module].items():
        below = kind.lstrip("\\")
        if below in cells:
            inner = counted(cells, below)
            lut, ff = lut + count * inner.lut, ff + count * inner.ff
            dsp, bram = dsp + count * inner.dsp, bram + count * inner.bram
        lut += count * LUT_CELLS.get(kind, 0)
        ff += count * kind.startswith(FF_CELLS)
        dsp += count * (kind in DSP_CELLS)
        bram += count * BRAM_CELLS.get(kind, 0)
    return Synthesised(lut, ff, dsp, bram)
