# SPDX-License-Identifier: Apache-2.0
"""Passes: pure functions Graph -> Graph that never change an integer of the output.

A new pass is one module here, one line in `PIPELINE`, one test. The order is meaning, so it stays
written down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..check import check
from ..graph import Graph
from .drop_identity import drop_identity
from .drop_unused import drop_unused
from .fuse_padding import fuse_padding
from .merge_tables import merge_tables
from .positive_multipliers import positive_multipliers

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    drop_identity,
    fuse_padding,
    merge_tables,
    drop_unused,
    positive_multipliers,
)


def run_passes(graph: Graph, dump: Path | None = None) -> Graph:
    """Run the pipeline, checking the graph after every pass.

    Args:
        graph: a checked network.
        dump: a folder that receives the text of the graph before and after every pass.
    """
    steps: list[tuple[str, Graph]] = [("lower", check(graph))]
    for step in PIPELINE:
        graph = check(step(graph), after=step.__name__)
        steps.append((step.__name__, graph))
    if dump is not None:
        dump.mkdir(parents=True, exist_ok=True)
        for number, (name, state) in enumerate(steps):
            (dump / f"{number:02}_{name}.txt").write_text(state.dump(), encoding="utf-8")
    return graph
