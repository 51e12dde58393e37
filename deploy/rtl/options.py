# SPDX-License-Identifier: Apache-2.0
"""The options of the command line that concern circuits only."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..report import Report
    from ..targets import Target
    from .goals import Goals


def circuit_goals(
    target: Target,
    name: str,
    texts: list[str],
    engines: list[str] | None = None,
    board: str | None = None,
    reload: bool = False,
) -> Goals | None:
    """Goals of a circuit; checks name and board by the rules of the emitted language."""
    if target.family != "verilog":
        from ..render import c_name

        if texts:
            raise UsageError(
                f"--goal: target {target.name} emits C; goals are for FPGA targets; use"
                " 'adaqat compare --budget' to judge a processor"
            )
        if reload:
            raise UsageError(
                f"--reloadable-weights: target {target.name} emits C; circuits can be written;"
                " leave it out"
            )
        if engines:
            raise UsageError(
                f"--engine: target {target.name} emits C; engines are those of FPGA targets; leave"
                " it out"
            )
        c_name(name)
        from ..report import check_board

        check_board(target, board)
        return None
    from .board import check_circuit_board
    from .goals import Goals
    from .words import verilog_name

    verilog_name(name)
    if board is not None:
        check_circuit_board(target, board)
    goals = Goals.parse(texts, target, engines or [], board)
    unrolled = [layer for layer, engine in goals.engines if engine == "unrolled"]
    if reload and unrolled:
        raise UsageError(
            "--reloadable-weights: weights of unrolled layers are adders; folded layers can be"
            " written; leave out --engine ...unrolled or --reloadable-weights"
        )
    return with_written_weights(goals) if reload else goals


def with_written_weights(goals: Goals) -> Goals:
    """Goals of a circuit that other networks can be written into: every layer folded.

    Raises:
        UsageError: an engine asked for whose weights are wires.
    """
    if any(engine == "unrolled" for _, engine in goals.engines):
        raise UsageError(
            "--reloadable-weights: the weights of an unrolled layer are wires; folded layers are"
            " supported; leave --engine out"
        )
    return replace(goals, reload=True)


def check_power(target: Target, power_w: float | None) -> None:
    """Refuse a power that is none, or of a processor."""
    if power_w is None:
        return
    if target.family != "verilog":
        raise UsageError(
            f"--power-w: target {target.name} is a processor, whose energy is that of its board;"
            " FPGA targets are supported; use --board"
        )
    if not (isfinite(power_w) and power_w > 0):
        raise UsageError(
            f"--power-w {power_w:g}: a positive number of watts is needed, as measured on the"
            " device while it computes; leave it out without a measurement"
        )


def add_energy(report: Report, power_w: float | None) -> None:
    """Joules per frame, from a measured power only: no source states the energy of a circuit."""
    if power_w is not None:
        rate = report.totals["frames_per_second"]
        report.totals.update(power_w=power_w, energy_per_frame_j=power_w / rate)


def check_synthesis(target: Target, synth: bool, pnr: bool, board: str | None = None) -> None:
    """Refuse, before any long work, what cannot be synthesised or routed."""
    if not (synth or pnr):
        return
    if target.family != "verilog":
        raise UsageError(
            f"--{'synth' if synth else 'pnr'}: target {target.name} emits C; synthesis is for FPGA"
            " targets; leave it out"
        )
    from ...hw_models import load_fabric
    from .route import check_route, tool
    from .tools import yosys

    yosys()
    if pnr:
        fabric = load_fabric(target.name)
        check_route(fabric, board is not None)
        tool(fabric, fabric.router)
        tool(fabric, fabric.packer)


def add_figures(report: Report, model: object, pnr: bool, out: Path) -> None:
    """Synthesise, and route when asked, an emitted circuit; the figures go into its report."""
    from .circuit import Circuit
    from .route import add_route, add_synthesis

    assert isinstance(model, Circuit)
    print("synthesising; the first start of yosys from PyPI takes half a minute", file=sys.stderr)
    if pnr:
        add_route(report, model, out)
    else:
        add_synthesis(report, model)
