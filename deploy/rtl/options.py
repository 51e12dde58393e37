# SPDX-License-Identifier: Apache-2.0
"""The options of the command line that concern circuits only."""

from __future__ import annotations

import sys
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
) -> Goals | None:
    """Goals of a circuit; checks name and board by the rules of the emitted language."""
    if target.family != "verilog":
        from ..render import c_name

        if texts:
            raise UsageError(
                f"--goal: target {target.name} emits C; goals are for FPGA targets; use"
                " 'adaqat compare --budget' to judge a processor"
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
    return Goals.parse(texts, target, engines or [], board)


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
