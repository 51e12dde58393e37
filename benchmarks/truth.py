# SPDX-License-Identifier: Apache-2.0
"""How true a cost table is: predicted against counted instructions, layer by layer.

    python benchmarks/truth.py --target cortex-m4 --bits 8x8,4x8,2x2,mixed1,mixed2

None of these networks was used to fit a table. "mixedN" draws every layer's widths from seed N.
Exit status 1 when a network or a layer is off by more than its limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from networks import NETWORKS, graph_of

from adaqat.deploy import Graph
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import HwModel, load, load_core
from adaqat.hw_models.model import load_table


@dataclass(frozen=True)
class Layer:
    """One layer, predicted and counted: instructions and cycles (None: not estimated)."""

    name: str
    form: str
    instructions: tuple[float, int]
    cycles: tuple[float, float | None]

    @property
    def error(self) -> float:
        """Relative error of the predicted instructions."""
        return self.instructions[0] / self.instructions[1] - 1

    def text(self) -> str:
        """A line of the report."""
        predicted, counted = self.instructions
        cycles = self.cycles[1]
        late = "" if cycles is None else f"  cycles {self.cycles[0] / cycles - 1:+7.1%}"
        figures = f"{self.name:24s} {counted:9d} {predicted:11.0f} {self.error:+7.1%}{late}"
        return f"    {figures}  {self.form}"


def layers(graph: Graph, table: HwModel, target: str) -> list[Layer]:
    """Every layer of a network, predicted from the table and counted on the emulated core."""
    described = get(target)
    model = layout(graph, described, "net")
    core = described.core
    if core is None:
        raise SystemExit(f"{target}: has no core; a core is needed to count; choose a core")
    toolchain = find_toolchain(architecture=load_core(core).architecture)
    with Device(model, core, toolchain=toolchain) as device:
        count = device.count(make_inputs(graph, samples=1, seed=3, extremes=False))
    if count is None:
        raise SystemExit(f"{core}: nothing is counted on this core; choose another target")
    works = graph.works(table.kernels)
    found = []
    for name, work in works:
        cost, node = table.node_cost(work), count.nodes[name]
        counts = ", ".join(f"{key} {value}" for key, value in sorted(work.features.items()))
        widths = f"w{work.weight_bits}a{work.act_bits}{'s' if work.act_signed else ''}"
        form = f"{work.kind} {work.form} {widths}: {counts}"
        predicted = (cost.instructions, node.instructions), (cost.cycles, node.cycles)
        found.append(Layer(name, form, *predicted))
    return found


def networks(names: list[str], bits: list[str]) -> Iterator[tuple[str, Graph]]:
    """Every network at every choice of widths, with its title."""
    for name in names:
        for widths in bits:
            yield f"{name} {widths}", graph_of(name, widths)


def main() -> int:
    """Print the worst layers of every network; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--bits", default="8x8,4x8,2x2,mixed1,mixed2")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--table", type=Path, help="table file; the packaged one when left out")
    parser.add_argument("--network-limit", type=float, default=0.02)
    parser.add_argument("--layer-limit", type=float, default=0.05)
    parser.add_argument("--all", action="store_true", help="print every layer, not only those off")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(options.table) if options.table else load(options.target)
    started, broken = time.monotonic(), 0
    for title, graph in networks(options.networks.split(","), options.bits.split(",")):
        found = layers(graph, table, options.target)
        counted = sum(layer.instructions[1] for layer in found)
        error = sum(layer.instructions[0] for layer in found) / counted - 1
        off = [layer for layer in found if abs(layer.error) > options.layer_limit]
        broken += len(off) + (abs(error) > options.network_limit)
        worst = max(abs(layer.error) for layer in found)
        print(
            f"{title:28s} {counted:9d} instructions, predicted {error:+.2%}; layers: worst"
            f" {worst:.1%}, {len(off)} of {len(found)} off by over {options.layer_limit:.0%}",
            flush=True,
        )
        for layer in found if options.all else off:
            print(layer.text(), flush=True)
    print(f"{options.target}: {broken} limits broken, {time.monotonic() - started:.0f} s")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
