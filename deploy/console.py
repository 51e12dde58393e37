# SPDX-License-Identifier: Apache-2.0
"""What the command line shows: tables on stdout, progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..hw_models import fpga_boards_of
from ..hw_models.board import boards_of
from . import targets
from .graph import Graph
from .report import Report
from .setting import Setting

PIPE_WIDTH = 140
"""Columns where stdout is no terminal, so that tables in files and logs do not break."""


def console() -> Console:
    """The console of results."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields a function of (done, total). Silent in a pipe."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def number(value: float | int | None, digits: int = 0, unit: str = "") -> str:
    """A figure with thousands separated; a dash where it is unknown."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def shape_text(shape: Sequence[int]) -> str:
    """For example ``32x32x16``."""
    return "x".join(str(size) for size in shape)


def print_report(report: Report, path: Path) -> None:
    """Nodes, totals and verification of an emitted network."""
    screen = console()
    if "interval" in report.totals:
        from .rtl.shown import circuit_grid, circuit_table

        screen.print(circuit_table(report))
        screen.print(circuit_grid(report))
        _print_verification(report, path, screen)
        return
    table = Table(title=f"{report.model['name']} for {report.target['name']}")
    for heading in ("node", "operator", "weights", "in", "out", "shape"):
        table.add_column(heading, overflow="fold")
    for heading in ("MACs", "predicted cycles", "cycles", "constants", "code", "mismatches"):
        table.add_column(heading, justify="right")
    for row in report.nodes:
        table.add_row(
            row["source"],
            row["op"],
            f"{row['weight_bits']} bit" if row["weight_bits"] else "-",
            "+".join(str(bits) for bits in row["act_bits_in"]),
            str(row["act_bits_out"]),
            shape_text(row["shape"]),
            number(row["macs"]),
            number(row["predicted_cycles"]),
            number(row["cycles"]),
            number(row["const_bytes"]),
            number(row["code_bytes"]),
            number(row.get("mismatches")),
        )
    screen.print(table)
    screen.print(_totals(report))
    if report.target["board"]:
        where = f"latency and energy: {report.target['board']}, {report.target['memory']}"
        screen.print(where, markup=False)
    if report.target["optimise"] != Setting.speed:
        screen.print(
            f"--optimise {report.target['optimise']}: no predicted cost, because the cost tables"
            " are measured from the kernels of the setting speed",
            markup=False,
        )
    if report.target["compiler"]:
        built = f"{report.target['core']}: built with {report.target['compiler']}"
        screen.print(built, markup=False)
    _print_verification(report, path, screen)


def _print_verification(report: Report, path: Path, screen: Console) -> None:
    for entry in report.verify:
        verdict = (
            "[green]all equal[/green]"
            if not entry["mismatches"]
            else f"[red]{entry['mismatches']:,} MISMATCHES[/red]"
        )
        screen.print(
            f"{entry['executor']}: {entry['samples']:,} inputs, {entry['values']:,} integers"
            f" compared with the simulator, {verdict}"
        )
        if entry["first_mismatch"]:
            first = entry["first_mismatch"]
            screen.print(
                f"  first: node {first['node']}, input {first['sample']}, element"
                f" {first['index']}: expected {first['expected']}, found {first['found']}",
                markup=False,
            )
    if not report.verify:
        screen.print("not verified (--verify none)")
    screen.print(f"report: {path}", markup=False, soft_wrap=True)


def _totals(report: Report) -> Table:
    totals = report.totals
    grid = Table.grid(padding=(0, 2))
    rows = (
        ("instructions", "instructions", 0, ""),
        ("cycles", "cycles", 0, ""),
        ("latency_ms", "latency", 3, " ms"),
        ("energy_uj", "energy", 1, " uJ"),
    )
    for key, title, digits, unit in rows:
        grid.add_row(
            title,
            f"predicted {number(totals.get(f'predicted_{key}'), digits, unit)}",
            f"counted {number(totals.get(key), digits, unit)}",
        )
    if totals["stall_cycles"] is not None:
        grid.add_row("waits for flash", f"estimated {number(totals['stall_cycles'])} cycles")
    grid.add_row(
        "flash",
        f"constants {number(totals['const_bytes'])} bytes",
        f"code {number(totals['code_bytes'])} bytes",
    )
    grid.add_row(
        "RAM",
        f"context {number(totals['ram_bytes'])} bytes",
        f"stack {number(totals['stack_bytes'])} bytes",
    )
    return grid


def graph_rows(graph: Graph) -> list[dict[str, Any]]:
    """What ``inspect`` lists, one row per node."""
    works = dict(graph.works())
    return [
        {
            "name": node.name,
            "op": node.op.kind,
            "source": node.source,
            "inputs": list(node.inputs),
            "weight_bits": node.op.weight_bits or None,
            "weights": node.op.weight_count,
            "type": str(node.output.type),
            "shape": list(node.output.shape),
            "macs": works[node.name].macs if node.name in works else 0,
        }
        for node in graph
    ]


def print_graph(graph: Graph) -> None:
    """The nodes of a graph."""
    table = Table(title=f"{graph.name}  {graph.model_id[:16]}")
    for heading in ("node", "operator", "inputs", "weights", "output", "shape"):
        table.add_column(heading, overflow="fold")
    table.add_column("MACs", justify="right")
    for row in graph_rows(graph):
        bits = f"{row['weights']:,} x {row['weight_bits']} bit" if row["weight_bits"] else "-"
        table.add_row(
            row["name"], row["op"], ", ".join(row["inputs"]), bits, row["type"],
            shape_text(row["shape"]), number(row["macs"]),
        )  # fmt: skip
    console().print(table)


def target_rows() -> list[dict[str, Any]]:
    """What ``targets`` lists."""
    return [
        {
            "name": target.name,
            "aliases": list(target.aliases),
            "family": target.family,
            "core": target.core,
            "cost_table": target.table,
            "boards": list(
                boards_of(target.core) if target.core else fpga_boards_of(target.name)
            ),
        }
        for target in (targets.get(name) for name in targets.names())
    ]


def print_targets() -> None:
    """The known targets."""
    table = Table()
    for heading in ("target", "also", "emits", "emulated core", "cost table", "boards"):
        table.add_column(heading)
    for row in target_rows():
        table.add_row(
            row["name"], ", ".join(row["aliases"]) or "-", row["family"].upper(),
            row["core"] or "-", "measured" if row["cost_table"] else "-",
            ", ".join(row["boards"]) or "-",
        )  # fmt: skip
    console().print(table)


def print_comparison(rows: Sequence[Mapping[str, Any]], limits: Mapping[str, float]) -> None:
    """Predicted cost by target, figures above their limit in red."""
    metrics = {"cycles": 0, "latency_ms": 3, "energy_uj": 1, "flash_kb": 2, "ram_kb": 2}
    table = Table(title="predicted cost of one inference")
    table.add_column("target")
    for metric in metrics:
        limit = f" (<= {limits[metric]:g})" if metric in limits else ""
        table.add_column(metric + limit, justify="right")
    for row in rows:
        shown = [number(row[metric], digits) for metric, digits in metrics.items()]
        table.add_row(
            row["target"],
            *(
                f"[red]{text}[/red]" if metric in row["over"] else text
                for metric, text in zip(metrics, shown, strict=True)
            ),
        )
    console().print(table)
