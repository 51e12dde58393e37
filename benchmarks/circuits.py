# SPDX-License-Identifier: Apache-2.0
r"""Whole networks as circuits: folding, predicted size, cycles, every integer, cells, clock.

    python benchmarks/circuits.py resnet8 --bits 3x3 --clock 100 --rate 1000 --frames 3
    python benchmarks/circuits.py digits --target fpga-ice40 --route --seeds 1,2,3
    python benchmarks/circuits.py tests/trained/resnet8_11M_40k.adaqat --rate 1000 \
        --frames 1000 --data-root FOLDER
    python benchmarks/circuits.py layers --no-dsp --route --seeds 1

A model file, ``digits``, ``layers`` (two of ResNet-8's convolutions at w3a3, folded as in a circuit
of 1,000 frames/s) or a network with random weights and ranges calibrated on random inputs.
Verilator compares every node's stream with the simulator and the cycles with the computed ones, on
generated inputs or on the first test images of ``--data``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from adaqat.deploy import Graph, load, quantize_input
from adaqat.deploy.rtl.circuit import Circuit, plan_circuit
from adaqat.deploy.rtl.cost import design_resources
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.route import route
from adaqat.deploy.rtl.synthesis import counted, synthesis_command, synthesise
from adaqat.deploy.rtl.tools import yosys_version
from adaqat.deploy.rtl.verification import verify_circuit
from adaqat.deploy.shipped import shipped_model
from adaqat.deploy.targets import get
from adaqat.deploy.types import IntArray, IntType
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import Fabric, load_fabric

LARGE = {
    "fpga-ecp5": {
        "device": "LFE5U-85F", "luts": 83640, "dsps": 156, "brams": 208,
        "router_flags": "--85k --package CABGA381 --lpf-allow-unconstrained",
    }
}  # fmt: skip
"""The larger device of a family, for ``--large``."""


LAYER_FOLDS = {"a": Fold(2, 16), "b": Fold(2, 13, True)}
"""Foldings of ``layers``."""


def layers() -> Graph:
    """16 to 16 and, with stride 2, 16 to 32 channels, 16 x 16 pixels, 3 bits, random weights."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from nets import Maker, graph, input_node

    make = Maker(3, 3)
    x = input_node((16, 16, 16), IntType(3, False))
    a = make.conv("a", x, 16, IntType(3, False))
    return graph(x, a, make.conv("b", a, 32, IntType(8, False), stride=(2, 2)))


def network(name: str, bits: str) -> Graph:
    """A file's, the shipped network, or one of `benchmarks/networks.py` with random weights."""
    if name == "layers":
        return layers()
    if name.endswith(".adaqat"):
        return load(Path(name))
    if name == "digits":
        return load(shipped_model())
    from networks import graph_of

    return graph_of(name, bits)


def show(what: str, value: object) -> None:
    print(f"{what:24} {value}", flush=True)


def inputs(graph: Graph, frames: int, data: str, root: Path | None) -> IntArray:
    """The first test images where there is a folder of them, else generated inputs."""
    if root is None:
        return make_inputs(graph, samples=frames)
    from adaqat.train.data import load_data

    images, _ = load_data(data, root, seed=0, validation=0.1).test
    return quantize_input(graph, images[:frames].double().numpy())


def verified(circuit: Circuit, codes: IntArray) -> None:
    started = time.monotonic()
    entry = verify_circuit(circuit, codes).verify[0]
    show("Verilator", f"{entry['mismatches']} of {entry['values']} integers differ,"
         f" {entry['samples']} frames, cycles as computed, {time.monotonic() - started:.0f} s")


def routed(circuit: Circuit, fabric: Fabric, seeds: list[int]) -> None:
    show("synthesis", f"{yosys_version()}: {synthesis_command(circuit.design, fabric)}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        cells = synthesise(circuit.design, fabric, netlist=folder / "made.json")
        show("cells", counted(cells, circuit.design.name))
        if not seeds:
            return
        found = route(folder, fabric, circuit.goals.clock_mhz, seeds)
    clocks = [one["fmax_mhz"] for one in found]
    show("used", json.dumps(found[0]["used"]))
    show("Fmax MHz", f"{dict(zip(seeds, clocks, strict=True))}, min {min(clocks):.1f},"
         f" median {statistics.median(clocks):.1f}")
    print("\n".join(found[0]["critical_path"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("--bits", default="3x3")
    parser.add_argument("--target", default="fpga-ecp5")
    parser.add_argument("--clock", type=float)
    parser.add_argument("--rate", type=float, help="frames per second")
    parser.add_argument("--frames", type=int, default=0, help="frames in Verilator")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-root", type=Path, help="frames are its first test images")
    parser.add_argument("--large", action="store_true", help="the family's larger device")
    parser.add_argument("--no-dsp", action="store_true", help="products in LUTs only")
    parser.add_argument("--synth", action="store_true")
    parser.add_argument("--route", action="store_true")
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    target = get(args.target)
    fabric = load_fabric(target.name)
    if args.large:
        fabric = fabric.model_copy(update=LARGE[target.name])
    if args.no_dsp:
        fabric = fabric.model_copy(update={"dsps": 0})
    texts = [f"clock_mhz={args.clock}"] if args.clock else []
    texts += [f"frames_per_second={args.rate}"] if args.rate else []
    circuit = plan_circuit(
        network(args.network, args.bits), target, Path(args.network).stem.lower().replace(".", "_"),
        Goals.parse(texts, target), LAYER_FOLDS if args.network == "layers" else None, fabric,
    )  # fmt: skip
    timed, clock = circuit.schedule, circuit.goals.clock_mhz
    show("network", f"{args.network} {args.bits}, {fabric.device} at {clock:g} MHz")
    show("cycles", f"latency {timed.latency} ({timed.latency / clock:.0f} us),"
         f" interval {timed.interval} ({timed.interval / clock:.0f} us)")
    show("predicted", design_resources(circuit.design, fabric))
    for module in circuit.design.modules:
        fold = module.fold
        print(f"  {module.node.name:24} pe {fold.pe:3} simd {fold.simd:3} serial {fold.serial:d}"
              f" {timed.busy[module.node.name]:7} cycles")
    if args.frames:
        verified(circuit, inputs(circuit.design.graph, args.frames, args.data, args.data_root))
    if args.synth or args.route:
        routed(circuit, fabric, [int(s) for s in args.seeds.split(",")] if args.route else [])


if __name__ == "__main__":
    main()
