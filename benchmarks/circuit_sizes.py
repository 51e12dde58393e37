# SPDX-License-Identifier: Apache-2.0
"""Predicted logic cells of circuits against place and route, over a fixed list of designs.

    python benchmarks/circuit_sizes.py fpga-ice40 fpga-ecp5 [--only dense]

None of the designs is among those that the prices were fitted to (`benchmarks/fabrics.py`). Each is
folded for the most speed within its budget, synthesised, placed and routed with one seed. Where the
device has too few pins for the streams, the cells are those after packing, and there is no clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from nets import Maker, graph, input_node

from adaqat.deploy import Graph, Node
from adaqat.deploy.errors import ToolError
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.cost import design_resources
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.prices import packed
from adaqat.deploy.rtl.route import route
from adaqat.deploy.rtl.synthesis import synthesise
from adaqat.deploy.targets import get
from adaqat.deploy.types import IntType
from adaqat.hw_models import load_fabric

DESIGNS = (
    ("dense", 1, 1, 1140), ("dense", 3, 5, 1800), ("dense", 8, 8, 2400),
    ("chain", 2, 2, 2030), ("chain", 3, 3, 2000), ("chain", 4, 4, 2520), ("chain", 8, 8, 2800),
    ("residual", 2, 4, 3080), ("residual", 4, 8, 3200), ("residual", 6, 6, 3390),
    ("separable", 3, 3, 2660), ("separable", 5, 4, 3830), ("separable", 8, 8, 4240),
    ("wide", 2, 2, 5070), ("wide", 4, 4, 5600),
)  # fmt: skip
"""(kind, weight bits, activation bits, budget of logic cells)."""


def network(kind: str, weight_bits: int, act_bits: int) -> Graph:
    """A small network with random weights."""
    make = Maker(weight_bits + 10 * act_bits, weight_bits)
    act, out = IntType(act_bits, False), IntType(8, True)
    if kind == "dense":
        x = input_node((40,), act)
        hidden = make.linear("hidden", x, 24, act)
        again = make.linear("again", hidden, 16, act)
        return graph(x, hidden, again, make.linear("last", again, 5, out))
    if kind == "wide":
        # one layer, so that nearly all cells are those of its lanes
        x = input_node((8, 8, 16), act)
        return graph(x, make.conv("only", x, 16, act))
    x = input_node((8, 8, 4), act)
    stem = make.conv("stem", x, 8, act)
    if kind == "chain":
        body = [make.conv("body", stem, 12, act, stride=(2, 2))]
    elif kind == "residual":
        one = make.conv("one", stem, 8, act)
        direct = make.conv("direct", stem, 8, act, kernel=(1, 1), pad=(0, 0, 0, 0))
        body = [one, direct, make.add("sum", [one, direct], act)]
    else:
        depth = make.depthwise("depth", stem, act)
        point = make.conv("point", depth, 16, act, kernel=(1, 1), pad=(0, 0, 0, 0))
        most = MaxPool2d(Window((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)))
        body = [depth, point, Node.make("most", most, (point,))]
    side = body[-1].output.shape[0]
    mean = make.avgpool("mean", body[-1], act, kernel=(side, side))
    flat = Node.make("flat", Reshape((mean.output.size,)), (mean,))
    return graph(x, stem, *body, mean, flat, make.linear("last", flat, 5, out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--only", help="designs whose name starts so")
    parser.add_argument("--predict", action="store_true", help="no synthesis")
    args = parser.parse_args()
    for name in args.targets:
        print(f"\n{name}\n\n| design | budget | predicted | placed | error | clock MHz |")
        print("| --- | --- | --- | --- | --- | --- |")
        errors, over = [], []
        for kind, weight_bits, act_bits, budget in DESIGNS:
            title = f"{kind} w{weight_bits}a{act_bits}"
            if args.only and not title.startswith(args.only):
                continue
            target, fabric = get(name), load_fabric(name)
            goals = Goals(fabric.clock_mhz, lut=budget)
            circuit = plan_circuit(network(kind, weight_bits, act_bits), target, "net", goals)
            predicted = design_resources(circuit.design, fabric).lut
            if args.predict:
                print(f"| {title} | {budget} | {predicted:.0f} | | | |", flush=True)
                continue
            with tempfile.TemporaryDirectory() as made:
                netlist = Path(made) / "made.json"
                synthesise(circuit.design, fabric, netlist=netlist)
                try:
                    found = route(Path(made), fabric, goals.clock_mhz, [1])[0]
                    placed, clock = found["used"][fabric.logic_cell], f"{found['fmax_mhz']:.1f}"
                except ToolError as error:
                    if "$sb_io" not in str(error):
                        raise
                    placed, clock = packed(netlist, fabric), "-"
            errors.append(predicted / placed - 1)
            if placed > budget:
                over.append(title)
            print(f"| {title} | {budget} | {predicted:.0f} | {placed} | {errors[-1]:+.1%}"
                  f" | {clock} |", flush=True)  # fmt: skip
        if errors:
            sizes = np.abs(errors)
            print(f"\n{len(errors)} designs: mean error {sizes.mean():.1%}, worst"
                  f" {sizes.max():.1%}, over budget: {', '.join(over) or 'none'}")  # fmt: skip


if __name__ == "__main__":
    main()
