# SPDX-License-Identifier: Apache-2.0
"""Run the emitted network and compare every integer of every node with the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import targets
from .check import check
from .emit import CModel, layout
from .errors import UsageError
from .graph import Graph
from .host import HostModel
from .requant import Float64
from .simulate import check_codes, quantize_input, simulate
from .types import IntArray

Progress = Callable[[int, int], None]
BATCH = 64
"""Samples per round: bounds memory and paces the progress bar."""


@dataclass(frozen=True)
class Comparison:
    """One executor against the simulator.

    Attributes:
        executor: "host" or the name of an emulated core.
        samples: inputs run.
        values: integers compared, all nodes and the output.
        mismatches: how many differed.
        first_mismatch: node, sample, index, expected and found value, or None.
    """

    executor: str
    samples: int
    values: int
    mismatches: int
    first_mismatch: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of report.json."""
        return dict(self.__dict__)


@dataclass
class Tally:
    """Counts differences over batches."""

    model: CModel
    executor: str
    samples: int = 0
    values: int = 0
    mismatches: int = 0
    first: dict[str, Any] | None = None
    per_node: dict[str, int] = field(default_factory=dict)

    def add(self, codes: IntArray, trace: NDArray[np.uint8]) -> None:
        """Compare one batch of recorded bytes ``[N, bytes]`` with the simulator."""
        graph = self.model.graph
        expected = simulate(graph, codes, keep=True)
        offset = 0
        parts = [(node.node.name, node.node.output) for node in self.model.nodes]
        for name, info in [*parts, (graph.output, graph.output_node.output)]:
            raw = np.ascontiguousarray(trace[:, offset : offset + info.bytes_])
            found = raw.view(info.type.dtype).reshape(len(codes), -1)
            offset += info.bytes_
            wanted = expected[name].reshape(len(codes), -1)
            self._compare(name, wanted, found)
        self.samples += len(codes)

    def _compare(self, name: str, wanted: IntArray, found: IntArray) -> None:
        differs = wanted != found
        count = int(np.count_nonzero(differs))
        self.values += wanted.size
        self.mismatches += count
        self.per_node[name] = self.per_node.get(name, 0) + count
        if count and self.first is None:
            sample, index = (int(v) for v in np.argwhere(differs)[0])
            self.first = {
                "node": name,
                "sample": self.samples + sample,
                "index": index,
                "expected": int(wanted[sample, index]),
                "found": int(found[sample, index]),
            }

    def result(self) -> Comparison:
        """The finished comparison."""
        return Comparison(self.executor, self.samples, self.values, self.mismatches, self.first)


def as_codes(graph: Graph, inputs: NDArray[Any]) -> IntArray:
    """Integer codes of inputs: floats are quantised by the graph's rule, integers are checked."""
    if np.issubdtype(np.asarray(inputs).dtype, np.floating):
        return quantize_input(graph, inputs)
    return check_codes(graph, inputs)


def compare_host(model: CModel, codes: IntArray, progress: Progress | None = None) -> Tally:
    """The emitted C on this machine against the simulator."""
    tally = Tally(model, "host")
    with HostModel(model) as host:
        for start in range(0, len(codes), BATCH):
            part = codes[start : start + BATCH]
            tally.add(part, host.trace(part))
            if progress:
                progress(min(start + BATCH, len(codes)), len(codes))
    return tally
