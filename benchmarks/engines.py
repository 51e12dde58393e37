# SPDX-License-Identifier: Apache-2.0
"""The two engines of the FPGA back end by synthesis with yosys: constant adders, layers, lanes.

    python benchmarks/engines.py adders fpga-ecp5 [fpga-ice40 fpga-xilinx7] [--seeds 2] [--da4ml]
    python benchmarks/engines.py layers fpga-ecp5 [...]
    python benchmarks/engines.py lanes fpga-ecp5 [...]
    python benchmarks/engines.py clock fpga-ecp5 [fpga-ice40]

``adders``: LUTs per multiply-accumulate of constant matrices of 32 inputs and 8 outputs with
Gaussian weights, scaled so that as many are zero as in the published comparison; unsigned inputs.
Every sum is registered (1 level), and once more with registers as the family's circuits have them.
``--da4ml`` puts the graphs of da4ml 0.6.0 (``pip install da4ml==0.6.0``; LGPL-3, used as a tool)
for the very same matrices beside them. The last lines are prices of adders, fitted to what was
synthesised. ``layers``: whole unrolled layers, predicted and synthesised. ``lanes``: LUTs of a
folded layer per product that it computes at once. ``clock``: an unrolled 3x3 layer of 4 channels to
8 on an image of 8x8, w3a4, placed and routed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from da4ml_adders import da4ml_texts  # noqa: E402
from nets import Maker, graph, input_node  # noqa: E402

from adaqat.deploy import Graph, IntType  # noqa: E402
from adaqat.deploy.rtl.adder_graph import AdderGraph, pipeline  # noqa: E402
from adaqat.deploy.rtl.adder_search import search  # noqa: E402
from adaqat.deploy.rtl.adder_text import adder_values  # noqa: E402
from adaqat.deploy.rtl.circuit import plan_circuit  # noqa: E402
from adaqat.deploy.rtl.cost import chain_cells, module_resources  # noqa: E402
from adaqat.deploy.rtl.design import lay_out  # noqa: E402
from adaqat.deploy.rtl.engines import EVERY  # noqa: E402
from adaqat.deploy.rtl.goals import Goals  # noqa: E402
from adaqat.deploy.rtl.memory_style import with_fitting_memories  # noqa: E402
from adaqat.deploy.rtl.plan import Fold, signed_bits  # noqa: E402
from adaqat.deploy.rtl.rescale import THRESHOLD_BITS  # noqa: E402
from adaqat.deploy.rtl.route import route  # noqa: E402
from adaqat.deploy.rtl.simulation import sources  # noqa: E402
from adaqat.deploy.rtl.synthesis import FF_CELLS, LUT_CELLS, Cells, synthesise  # noqa: E402
from adaqat.deploy.rtl.synthesis import counted as module_cells  # noqa: E402
from adaqat.deploy.rtl.tools import call, yosys, yosys_version  # noqa: E402
from adaqat.deploy.rtl.words import verilog_environment  # noqa: E402
from adaqat.deploy.targets import get  # noqa: E402
from adaqat.hw_models import Fabric, load_fabric  # noqa: E402

INPUTS, OUTPUTS = 32, 8
MACS = INPUTS * OUTPUTS
KINDS = {(1, 1): 0.0, (2, 2): 0.45, (3, 4): 0.22, (4, 4): 0.11, (8, 8): 0.01}
"""Share of zero weights by (weight bits, activation bits)."""
Pairs = Sequence[tuple[int, int]]
PUBLISHED = {
    "fpga-ecp5": {(1, 1): 1.1, (2, 2): 1.7, (3, 4): 4.1, (4, 4): 5.5, (8, 8): 17.7},
    "fpga-ice40": {(1, 1): 1.3, (2, 2): 1.8, (3, 4): 4.6, (4, 4): 6.4, (8, 8): 20.2},
    "fpga-xilinx7": {(1, 1): 0.8, (2, 2): 1.3, (3, 4): 3.1, (4, 4): 4.2, (8, 8): 14.4},
}
"""LUT per MAC of da4ml 0.6.0 on matrices of these kinds, measured with the same tools before."""


def matrix(weight_bits: int, zeros: float, seed: int) -> np.ndarray:
    """Integers ``[OUTPUTS, INPUTS]``; one bit means +-1."""
    rng = np.random.default_rng(seed)
    if weight_bits == 1:
        return rng.choice(np.array([-1, 1]), (OUTPUTS, INPUTS))
    top = (1 << (weight_bits - 1)) - 1
    deviation = 0.5 / NormalDist().inv_cdf((1 + zeros) / 2)
    drawn = np.rint(rng.normal(0, deviation, (OUTPUTS, INPUTS)))
    return np.clip(drawn, -top, top).astype(np.int64)


def text_of(graph: AdderGraph, levels: int) -> str:
    """The graph as a module ``t_sums``."""
    wide = max(
        signed_bits(*(end << term.shift for end in graph.ranges[term.node]))
        for term in graph.outputs if term
    )  # fmt: skip
    values = adder_values(graph, pipeline(graph, levels), wide)
    template = verilog_environment().get_template("verilog/window/adders.j2")
    return str(template.module.module("t", values))  # type: ignore[attr-defined]


def counted(texts: dict[str, str], top: str, fabric: Fabric) -> tuple[int, int]:
    """(LUTs, flip-flops) of some files."""
    command = fabric.synthesis + (" -flatten" if "xilinx" in fabric.synthesis else "")
    with tempfile.TemporaryDirectory() as made:
        for name, text in texts.items():
            (Path(made) / name).write_text(text)
        read = " ".join(name for name in texts if name.endswith(".v"))
        script = f"read_verilog {read}; {command} -top {top};"
        call(
            [*yosys(), "-q", "-p", script + " tee -q -o s.json stat -json"], "yosys", None,
            Path(made),
        )  # fmt: skip
        cells = json.loads((Path(made) / "s.json").read_text())["design"]["num_cells_by_type"]
    sizes = {k: int(v if isinstance(v, int) else v["count"]) for k, v in cells.items()}
    return (
        sum(LUT_CELLS.get(kind, 0) * count for kind, count in sizes.items()),
        sum(count for kind, count in sizes.items() if kind.startswith(FF_CELLS)),
    )


def adders(target: str, pairs: Pairs, seeds: int, only: int, other: bool) -> None:
    """Constant matrices."""
    fabric = load_fabric(target)
    rows, luts = [], []
    for w, a in pairs:
        zeros = KINDS[w, a]
        found: dict[str, list[tuple[int, int]]] = {}
        for seed in range(1, seeds + 1):
            weights = matrix(w, zeros, seed)
            for levels in [only] if only else sorted({1, fabric.adder_levels}):
                graph = search(weights, 0, (1 << a) - 1, levels)
                made = counted({"t.v": text_of(graph, levels)}, "t_sums", fabric)
                found.setdefault(f"levels {levels}", []).append(made)
                if levels == (only or fabric.adder_levels):
                    rows.append(graph.size())
                    luts.append(made[0])
            if other:
                made = counted(da4ml_texts(weights, a), "dut", fabric)
                found.setdefault("da4ml", []).append(made)
        published = PUBLISHED[target][w, a]
        line = "  ".join(
            f"{what}: {np.mean([m[0] for m in all_]) / MACS:.2f} LUT"
            f" {np.mean([m[1] for m in all_]) / MACS:.2f} FF"
            for what, all_ in found.items()
        )
        first = next(iter(found.values()))
        ratio = np.mean([m[0] for m in first]) / MACS / published
        print(f"{target} w{w} a{a}  {line}  published {published}  ratio {ratio:.2f}",
              flush=True)  # fmt: skip
    print(f"{target} prices {prices(np.array(rows, float), np.array(luts, float))}", flush=True)


def prices(rows: np.ndarray, luts: np.ndarray) -> str:
    """(per bit, per adder, per subtracted bit), least relative squares, not negative."""
    from scipy.optimize import nnls

    found, _ = nnls(rows / luts[:, None], np.ones(len(luts)))
    errors = np.abs(rows @ found - luts) / luts
    return f"{found.round(3).tolist()} errors mean {errors.mean():.3f} worst {errors.max():.3f}"


FOLDED = {
    "fpga-ecp5": {(1, 1): 5.2, (2, 2): 10.5, (3, 4): 34.2, (4, 4): 45.5, (8, 8): 178.0},
    "fpga-ice40": {(1, 1): 4.9, (2, 2): 11.9, (3, 4): 30.9, (4, 4): 43.9, (8, 8): 173.0},
    "fpga-xilinx7": {(1, 1): 2.9, (2, 2): 8.9, (3, 4): 18.9, (4, 4): 32.9, (8, 8): 129.0},
}
"""LUT of one more lane of a dot product with weights from ports, with its share of the tree."""
FOLDS = ((1, 8), (1, 16), (4, 16), (8, 16), (16, 16))
"""(outputs, inputs) at once of the layer whose lanes are measured."""
LARGE_FOLDS = ((16, 32), (32, 32))
"""The same where a product has at most four bits."""


def layer(weight_bits: int, act_bits: int, channels: int = 16) -> Graph:
    """A 3x3 convolution of so many channels to as many on an image of 8x8."""
    make = Maker(1, weight_bits)
    act = IntType(act_bits, False)
    x = input_node((8, 8, channels), act)
    return graph(x, make.conv("conv", x, channels, act))


def memory_luts(cells: Cells, module: str) -> int:
    """LUTs that are memories, of a module with everything below it."""
    found = 0
    for kind, count in cells[module].items():
        below = kind.lstrip("\\")
        if below in cells:
            found += count * memory_luts(cells, below)
        elif kind.startswith(("TRELLIS_DPR", "RAM")):
            found += count * LUT_CELLS[kind]
    return found


def lanes(target: str, pairs: Pairs) -> None:
    """The folded engine per lane: all of it but its requantisers, and one more lane alone."""
    fabric = load_fabric(target)
    for w, a in pairs:
        known = FOLDED[target][w, a]
        engines = {}
        for pe, simd in FOLDS + LARGE_FOLDS * (w * a <= 4):
            folds = {"conv": Fold(pe, simd, a > THRESHOLD_BITS and pe == 1)}
            made = lay_out(layer(w, a, max(16, simd)), get(target), "net", folds)
            design = with_fitting_memories(made, fabric)
            # constants pass the borders of modules only when these are gone; the requantiser's are
            # all inside
            cells = synthesise(design, fabric)
            whole, memory = module_cells(cells, "net").lut, memory_luts(cells, "net")
            ident = design.modules[0].ident
            rescale, _ = counted(sources(design), f"{ident}_rescale", fabric)
            engines[pe, simd] = whole - rescale
            each = engines[pe, simd] / (pe * simd)
            bare = (engines[pe, simd] - memory) / (pe * simd)
            print(
                f"{target} w{w} a{a} {pe}x{simd}: {each:.1f} LUT a lane, {each / known:.2f} of"
                f" {known}; without line buffer and queue {bare:.1f}, {bare / known:.2f};"
                f" requantisers {rescale}",
                flush=True,
            )
        more = (engines[1, 16] - engines[1, 8]) / 8
        print(f"{target} w{w} a{a}: one lane more {more:.1f} LUT, {more / known:.2f}", flush=True)


def cells_below(cells: Cells, ident: str, top: str) -> tuple[int, dict[str, int]]:
    """(LUTs of a module, LUTs of the modules in it by the end of their names)."""
    parts: dict[str, int] = {}
    for kind, count in cells[top].items():
        below = kind.lstrip("\\")
        if below in cells:
            name = next(
                (n for n in ("rescale", "_sums", "dot", "fifo", "queue") if n in below), "other"
            )
            parts[name] = parts.get(name, 0) + count * module_cells(cells, below).lut
    return module_cells(cells, ident).lut, parts


def layers(target: str) -> None:
    """Unrolled layers, each synthesised by itself."""
    fabric = load_fabric(target)
    for (w, a), pe in (((2, 2), 16), ((3, 4), 4), ((4, 4), 16), ((4, 8), 16), ((8, 8), 2)):
        fold = Fold(pe, 1, a > THRESHOLD_BITS and pe == 16, unrolled=True)
        design = lay_out(layer(w, a), get(target), "net", {"conv": fold})
        module = design.modules[0]
        cells = synthesise(design, fabric, flatten=False)
        made, predicted = module_cells(cells, module.ident), module_resources(module.plan, fabric)
        # the ends of carry chains are only there once the circuit is packed
        lut = predicted.lut - chain_cells(module.plan, fabric)
        _, parts = cells_below(cells, module.ident, module.ident)
        print(
            f"{target} w{w} a{a}, {pe} results at once: LUT {made.lut} predicted"
            f" {lut:.0f} ({lut / made.lut - 1:+.1%}), FF {made.ff} predicted"
            f" {predicted.ff:.0f}, block memories {made.bram} predicted {predicted.bram}; {parts}",
            flush=True,
        )


def clock(target: str) -> None:
    """An unrolled layer as a whole circuit, placed and routed with one seed."""
    fabric, act = load_fabric(target), IntType(4, False)
    x = input_node((8, 8, 4), act)
    net = graph(x, Maker(1, 3).conv("conv", x, 8, act))
    goals = replace(Goals.of(get(target)), interval=72, engines=((EVERY, "unrolled"),))
    circuit = plan_circuit(net, get(target), "net", goals)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        cells = synthesise(circuit.design, fabric, netlist=folder / "made.json")
        (found,) = route(folder, fabric, goals.clock_mhz, [1])
    print(
        f"{target} latency {circuit.schedule.latency} interval {circuit.schedule.interval}:"
        f" {module_cells(cells, 'net')}, {found['fmax_mhz']:.1f} MHz at least, {found['used']}\n  "
        + "\n  ".join(found["critical_path"]),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("adders", "layers", "lanes", "clock"))
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--levels", type=int, default=0, help="only so many adders a register")
    parser.add_argument("--bits", default="", help="only these, as 3x4,8x8 (adders, lanes)")
    parser.add_argument("--da4ml", action="store_true")
    args = parser.parse_args()
    bits = args.bits.split(",") if args.bits else [f"{w}x{a}" for w, a in KINDS]
    pairs = [(w, a) for w, a in KINDS if f"{w}x{a}" in bits]
    print(yosys_version())
    for target in args.targets:
        if args.what == "adders":
            adders(target, pairs, args.seeds, args.levels, args.da4ml)
        elif args.what == "layers":
            layers(target)
        elif args.what == "clock":
            clock(target)
        else:
            lanes(target, pairs)


if __name__ == "__main__":
    main()
