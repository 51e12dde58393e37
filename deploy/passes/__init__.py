# SPDX-License-Identifier: Apache-2.0
"""Passes: pure functions Graph -> Graph that never change an integer of the output.

A new pass is one module here, one line in `PIPELINE`, one test. The order is meaning, so it stays
written down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...hw_models import HwModel
from ..check import check
from ..graph import Graph
from .cancel_transposes import cancel_transposes
from .drop_constant_channels import drop_constant_channels
from .drop_identity import drop_identity
from .drop_unused import drop_unused
from .fuse_clamps import fuse_clamps
from .fuse_padding import fuse_padding
from .merge_tables import merge_tables
from .pad_channels import pad_channels
from .positive_multipliers import positive_multipliers

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    cancel_transposes,
    drop_identity,
    fuse_clamps,
    fuse_padding,
    merge_tables,
    drop_unused,
    positive_multipliers,
)


def clean(graph: Graph, table: HwModel | None = None) -> Graph:
    """A network with the same outputs that a device computes faster.

    Beside `PIPELINE`, constant and dead channels go, and channels are added where that is cheaper:
    tensors in between may have other shapes than before, so `lower` leaves this to the
    deployment.

    Args:
        graph: a network.
        table: the device's cost table; without one no channels are added.
    """
    graph = run_passes(check(drop_constant_channels(run_passes(graph))))
    return graph if table is None else check(pad_channels(graph, table))


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
