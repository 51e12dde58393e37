# SPDX-License-Identifier: Apache-2.0
"""What yosys makes of a circuit: cells by module, and the prices of features fitted to them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...hw_models import Fabric
from .cost import FEATURES, features
from .design import Design
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
    around: Mapping[str, str] | None = None, top: str = "",
) -> Cells:
    """Cells of a design by module; with ``flatten`` all of them are in the top module.

    ``netlist`` is where the JSON goes that place and route reads. ``around`` are Verilog files that
    stand around the design, with ``top`` as the top module.

    Raises:
        ToolError: yosys is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="adaqat-yosys-") as made:
        folder = Path(made)
        texts = {**sources(design), **(around or {})}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files = " ".join(sorted(name for name in texts if name.endswith(".v")))
        command = synthesis_command(design, fabric) if flatten else fabric.synthesis
        if not flatten and "xilinx" not in command:
            command += " -noflatten"
        if flatten and "xilinx" in command:
            command += " -flatten"
        command += " -json made.json" if netlist else ""
        script = f"read_verilog {files}; {command} -top {top or design.name};"
        script += " tee -q -o stat.json stat -json"
        call([*yosys(), "-q", "-p", script], "yosys on the emitted RTL", None, folder)
        found = json.loads((folder / "stat.json").read_text())["modules"]
        if netlist:
            shutil.copyfile(folder / "made.json", netlist)
    return {
        name.lstrip("\\"): {
            kind: int(cell if isinstance(cell, int) else cell["count"])
            for kind, cell in module["num_cells_by_type"].items()
        }
        for name, module in found.items()
    }


def synthesis_command(design: Design, fabric: Fabric) -> str:
    """The family's synthesis command for a whole design.

    Products go to DSP slices only where there are enough of them for all products that would.
    """
    if fabric.dsp_flag and _dsp_products(design, fabric) <= fabric.dsps:
        return f"{fabric.synthesis} {fabric.dsp_flag}"
    return fabric.synthesis


def _dsp_products(design: Design, fabric: Fabric) -> int:
    """Products of layers and of parallel requantisers and sums that would go to DSP slices."""
    found = 0
    for module in design.modules:
        v = module.plan.values
        sizes: list[tuple[int, int, int]] = []
        if v.get("combine") == "mac":
            sizes.append((v["pe"] * v["simd"], v["act_bits"], v["weight_bits"]))
        if v.get("rescale") and v["rescale"]["form"] == "multiplier":
            r = v["rescale"]
            # wider than one slice: four of them
            sizes.append((4 * r["lanes"], r["acc_bits"], r["m_bits"]))
        if v.get("form") == "parallel":
            sizes += [(v["lanes"], x, m) for x, m in zip(v["in_bits"], v["m_bits"], strict=True)]
        found += sum(n for n, a, b in sizes if a + b >= fabric.dsp_bits and min(a, b) >= 3)
    return found


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


@dataclass(frozen=True)
class Fit:
    """Prices of features, and how far they are from what was synthesised (relative, LUTs)."""

    lut: dict[str, float]
    ff: dict[str, float]
    modules: int
    mean_error: float
    max_error: float


def fit(designs: Sequence[Design], fabric: Fabric) -> Fit:
    """Not negative prices that fit every module of the designs, each synthesised by itself."""
    rows: list[list[float]] = []
    luts: list[float] = []
    ffs: list[float] = []
    for design in designs:
        cells = synthesise(design, fabric, flatten=False)
        for module in design.modules:
            counts = features(module.plan)
            rows.append([counts[name] for name in FEATURES])
            made = counted(cells, module.ident)
            luts.append(made.lut)
            ffs.append(made.ff)
    matrix = np.array(rows)
    lut = _prices(matrix, np.array(luts))
    ff = _prices(matrix, np.array(ffs))
    errors = np.abs(matrix @ lut - luts) / np.array(luts)
    names = list(FEATURES)
    return Fit(
        dict(zip(names, lut.round(4).tolist(), strict=True)),
        dict(zip(names, ff.round(4).tolist(), strict=True)),
        len(rows), float(errors.mean().round(4)), float(errors.max().round(4)),
    )  # fmt: skip


def _prices(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Least relative squares with no negative price: projected gradient from the scaled columns."""
    weighted = matrix / wanted[:, None]
    scale = np.where(weighted.max(axis=0) > 0, weighted.max(axis=0), 1.0)
    scaled = weighted / scale
    step = 1.0 / np.linalg.norm(scaled, 2) ** 2
    prices = np.zeros(matrix.shape[1])
    moving = prices.copy()
    momentum = 1.0
    for _ in range(200_000):
        gradient = scaled.T @ (scaled @ moving - 1.0)
        ahead = np.maximum(0.0, moving - step * gradient)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        moving = ahead + (momentum - 1) / grown * (ahead - prices)
        prices, momentum = ahead, grown
    found: np.ndarray = prices / scale
    return found
