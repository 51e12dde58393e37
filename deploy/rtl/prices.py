# SPDX-License-Identifier: Apache-2.0
"""Prices of features, fitted to what synthesis and the packer of place and route make of modules.

A budget is one of the device's logic cells, so logic cells after packing are what is priced: a
flip-flop without a LUT before it and the ends of a carry chain take cells too.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...hw_models import Fabric
from ..errors import ToolError
from .cost import FEATURES, chain_cells, design_features, features
from .design import Design
from .route import tool
from .synthesis import counted, synthesise
from .tools import call


@dataclass(frozen=True)
class Fit:
    """Prices of features, and how far they are from what was made (relative, logic cells)."""

    lut: dict[str, float]
    ff: dict[str, float]
    modules: int
    mean_error: float
    max_error: float


def fit(designs: Sequence[Design], fabric: Fabric) -> Fit:
    """Not negative prices that fit every module of the designs by itself, and the designs."""
    rows: list[list[float]] = []
    luts: list[float] = []
    ffs: list[float] = []
    known: list[float] = []
    for design in designs:
        with tempfile.TemporaryDirectory(prefix="adaqat-fit-") as made_in:
            folder = Path(made_in)
            cells = synthesise(
                design, fabric, flatten=False, netlist=folder / f"{design.name}.json",
                parts=folder if fabric.router else None,
            )
            parts = [(module.ident, features(module.plan, fabric)) for module in design.modules]
            ends = {module.ident: chain_cells(module.plan, fabric) for module in design.modules}
            for name, counts in [*parts, (design.name, design_features(design, fabric))]:
                made = counted(cells, name)
                rows.append([counts[feature] for feature in FEATURES])
                known.append(sum(ends.values()) if name == design.name else ends[name])
                luts.append(packed(folder / f"{name}.json", fabric) if fabric.router else made.lut)
                ffs.append(made.ff)
    matrix = np.array(rows)
    counted_one_by_one = np.array(known)
    lut = _prices(matrix, np.array(luts), counted_one_by_one)
    ff = _prices(matrix, np.array(ffs), np.zeros(len(ffs)))
    errors = np.abs(matrix @ lut + counted_one_by_one - luts) / np.array(luts)
    names = list(FEATURES)
    return Fit(
        dict(zip(names, lut.round(4).tolist(), strict=True)),
        dict(zip(names, ff.round(4).tolist(), strict=True)),
        len(rows), float(errors.mean().round(4)), float(errors.max().round(4)),
    )  # fmt: skip


def packed(netlist: Path, fabric: Fabric) -> int:
    """Logic cells of a netlist after packing, which neither placement nor routing changes.

    Raises:
        ToolError: no packer, or it fails.
    """
    log = netlist.with_suffix(".log")
    call(
        [*tool(fabric, fabric.router), *fabric.router_flags.split(), "--json", netlist.name,
         "--pack-only", "-q", "--log", log.name],
        f"packing for {fabric.device}", None, netlist.parent,
    )  # fmt: skip
    found = re.search(rf"{fabric.logic_cell}:\s*(\d+)\s*/", log.read_text())
    if not found:
        raise ToolError(
            f"{fabric.router} --pack-only: no count of {fabric.logic_cell} in its messages; another"
            " version than nextpnr 0.11 may print them differently; install that one"
        )
    return int(found[1])


def _prices(matrix: np.ndarray, wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Least relative squares with no negative price: projected gradient from the scaled columns.

    ``known`` is the part of ``wanted`` that has no price.
    """
    left = 1.0 - known / wanted
    weighted = matrix / wanted[:, None]
    scale = np.where(weighted.max(axis=0) > 0, weighted.max(axis=0), 1.0)
    scaled = weighted / scale
    step = 1.0 / np.linalg.norm(scaled, 2) ** 2
    prices = np.zeros(matrix.shape[1])
    moving = prices.copy()
    momentum = 1.0
    for _ in range(200_000):
        gradient = scaled.T @ (scaled @ moving - left)
        ahead = np.maximum(0.0, moving - step * gradient)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        moving = ahead + (momentum - 1) / grown * (ahead - prices)
        prices, momentum = ahead, grown
    found: np.ndarray = prices / scale
    return found
