# SPDX-License-Identifier: Apache-2.0
"""What the command line shows of a circuit."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ..console import number, shape_text
from ..report import Report


def circuit_table(report: Report) -> Table:
    """One row per module."""
    table = Table(title=f"{report.model['name']} for {report.target['name']}")
    for heading in ("node", "operator", "weights", "in", "out", "shape", "at once"):
        table.add_column(heading, overflow="fold")
    for heading in ("MACs", "cycles", "weight bits", "LUT", "mismatches"):
        table.add_column(heading, justify="right")
    for row in report.nodes:
        table.add_row(
            row["source"],
            row["op"],
            f"{row['weight_bits']} bit" if row["weight_bits"] else "-",
            "+".join(str(bits) for bits in row["act_bits_in"]),
            str(row["act_bits_out"]),
            shape_text(row["shape"]),
            _at_once(row),
            number(row["macs"]),
            number(row["cycles"]),
            number(row["rom_bits"]),
            number(row["predicted_lut"]),
            number(row.get("mismatches")),
        )
    return table


def _at_once(row: dict[str, Any]) -> str:
    if row["engine"] == "unrolled":
        return f"unrolled, {row['pe']} out"
    return f"{row['pe']}x{row['simd']}"


def circuit_grid(report: Report) -> Table:
    """Totals."""
    totals = report.totals
    grid = Table.grid(padding=(0, 2))
    clock = totals["clock_mhz"]
    rate = number(totals["frames_per_second"])
    grid.add_row("latency", f"{number(totals['cycles'])} cycles",
                 f"{number(totals['latency_ms'], 3)} ms at {clock:g} MHz")  # fmt: skip
    grid.add_row("interval", f"{number(totals['interval'])} cycles",
                 f"{rate} frames/s at {clock:g} MHz")  # fmt: skip
    for key, title in (("lut", "LUT"), ("ff", "flip-flops"), ("dsp", "DSP"),
                       ("bram", "block memories")):  # fmt: skip
        grid.add_row(
            title, f"predicted {number(totals[f'predicted_{key}'])}",
            f"synthesised {number(totals[key])}",
        )  # fmt: skip
    if totals["energy_per_frame_j"] is not None:
        grid.add_row("energy", f"{totals['energy_per_frame_j']:.3g} J per frame",
                     f"at {totals['power_w']:g} W, as given")  # fmt: skip
    if totals["fmax_mhz"] is not None:
        used = ", ".join(f"{n} {kind}" for kind, n in sorted(totals["route"]["used"].items()))
        grid.add_row("clock", f"{totals['fmax_mhz']:.1f} MHz at least",
                     f"{totals['route']['device']}: {used}")  # fmt: skip
    return grid
