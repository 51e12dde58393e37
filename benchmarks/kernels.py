# SPDX-License-Identifier: Apache-2.0
"""Cost of single layers on an emulated core: instructions and cycles per nominal MAC.

    python benchmarks/kernels.py --target cortex-m4 --pairs 8x8,4x8,2x2 --shapes C3,C1,DW,FC

Every layer is a network of its own with random weights; outputs are compared with the simulator
before anything is counted. MACs are nominal (padding counted), counts are of the whole node.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from adaqat.deploy import Graph, IntType, Node, check
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.base import Op, Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.pool2d import AvgPool2d, MaxPool2d
from adaqat.deploy.ops.requantize import Requantize
from adaqat.deploy.ops.source import Input
from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
from adaqat.deploy.requant import Requant, snap, snap_add
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally
from adaqat.hw_models import load_core


@dataclass(frozen=True)
class Shape:
    """One layer; ``outputs`` is the number of output channels, 0 where there are no weights."""

    kind: str
    source: tuple[int, ...]
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)


ONE, TWO = (1, 1, 1, 1), (2, 2, 2, 2)
SHAPES = {
    "C3": Shape("conv2d", (16, 16, 16), 32, (3, 3), pad=ONE),
    "C1": Shape("conv2d", (16, 16, 32), 32),
    "DW": Shape("depthwise_conv2d", (16, 16, 32), 32, (3, 3), pad=ONE),
    "FC": Shape("linear", (256,), 64),
    "C3b": Shape("conv2d", (8, 8, 64), 64, (3, 3), pad=ONE),
    "first": Shape("conv2d", (32, 32, 3), 16, (3, 3), pad=ONE),
    "first1": Shape("conv2d", (28, 28, 1), 8, (3, 3), pad=ONE),
    "FCad": Shape("linear", (640,), 128),
    "ADD": Shape("add", (16, 16, 32), 0),
    # tails: channel counts, sizes and strides that are no multiple of any tile
    "C3odd": Shape("conv2d", (15, 15, 15), 31, (3, 3), pad=ONE),
    "C3s2": Shape("conv2d", (16, 16, 16), 32, (3, 3), (2, 2), (0, 0, 1, 1)),
    "C1s2": Shape("conv2d", (16, 16, 16), 32, stride=(2, 2)),
    "C1odd": Shape("conv2d", (15, 15, 30), 31),
    "KWS1": Shape("conv2d", (49, 10, 1), 64, (10, 4), (2, 2), (4, 1, 5, 1)),
    "DWs2": Shape("depthwise_conv2d", (16, 16, 32), 32, (3, 3), (2, 2), (0, 0, 1, 1)),
    "DWodd": Shape("depthwise_conv2d", (15, 15, 31), 31, (3, 3), pad=ONE),
    "DW5": Shape("depthwise_conv2d", (16, 16, 32), 32, (5, 5), pad=(2, 2, 2, 2)),
    "DWcol": Shape("depthwise_conv2d", (49, 1, 32), 32, (9, 1), pad=(4, 0, 4, 0)),
    "FCodd": Shape("linear", (255,), 63),
    "DWmap": Shape("depthwise_conv2d", (48, 48, 16), 16, (3, 3), (2, 2), pad=ONE),
    "first4": Shape("conv2d", (32, 32, 4), 16, (3, 3), pad=ONE),
    "C3d2": Shape("conv2d", (16, 16, 16), 32, (3, 3), pad=TWO, dilation=(2, 2)),
    "DWd2": Shape("depthwise_conv2d", (16, 16, 32), 32, (3, 3), pad=TWO, dilation=(2, 2)),
    "C3g4": Shape("conv2d", (16, 16, 32), 32, (3, 3), pad=ONE, groups=4),
    "C1g2": Shape("conv2d", (16, 16, 32), 32, groups=2),
    "C3wide": Shape("conv2d", (5, 33, 16), 32, (3, 3), pad=ONE),
    # per output instead of per MAC
    "MAX2": Shape("maxpool2d", (16, 16, 32), 0, (2, 2), (2, 2)),
    "MAX3": Shape("maxpool2d", (16, 16, 32), 0, (3, 3), (2, 2), pad=ONE),
    "AVG": Shape("avgpool2d", (8, 8, 64), 0, (8, 8), (8, 8)),
    "AVG2": Shape("avgpool2d", (16, 16, 32), 0, (2, 2), (2, 2)),
    "REQ": Shape("requantize", (16, 16, 32), 0),
}


def _weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int, step: int) -> Weights:
    top = (1 << bits) - 1
    codes = rng.integers(0, top + 1, shape).astype(np.uint8)
    zero_free = step == 2 or bits == 1
    return Weights(
        codes, bits, 2 if zero_free else 1, -top if zero_free else -(1 << (bits - 1))
    )


def _requant(weights: Weights, given: IntType, out: IntType) -> Requant:
    """Constants that spread the outputs over their range."""
    values = weights.values
    low, high = accumulator_bounds(values, given)
    spread = np.sqrt((values.reshape(len(values), -1).astype(float) ** 2).sum(1)) + 1.0
    ratio = (out.hi - out.lo) / (spread * max(abs(given.lo), abs(given.hi)) * 1.5)
    offset = (out.lo + out.hi) / 2 - ratio * (low + high) / 2
    return snap(ratio, offset, low, high, zero=0, lo=out.lo, hi=out.hi)


def one_layer(
    shape: Shape, weight_bits: int, act_bits: int, *, signed: bool = False, step: int = 1
) -> Graph:
    """A network of one layer whose input and output have ``act_bits`` bits."""
    rng = np.random.default_rng(weight_bits * 16 + act_bits)
    act = IntType(act_bits, signed)
    rank = "NHWC" if len(shape.source) == 3 else "NC"
    x = Node.make("x", Input(shape.source, act, rank), (), scale=0.05, zero=0)
    if shape.kind == "add":
        rule = snap_add(
            (0.7, 0.6), [(act.lo, act.hi)] * 2, input_zeros=(0, 0), zero=0, lo=act.lo, hi=act.hi
        )
        nodes = (x, Node.make("layer", Add(rule, act), (x, x), scale=0.1, zero=0))
        return check(Graph("bench", nodes, "layer"))
    window = Window(shape.kernel, shape.stride, shape.dilation, shape.pad)
    if shape.outputs == 0:
        op = _unweighted(shape, window, act)
        return check(
            Graph("bench", (x, Node.make("layer", op, (x,), scale=0.1, zero=0)), "layer")
        )
    depth = 1 if shape.kind == "depthwise_conv2d" else shape.source[-1] // shape.groups
    form = (shape.outputs, depth) if shape.kind == "linear" else (
        shape.outputs, *shape.kernel, depth
    )  # fmt: skip
    weights = _weights(rng, form, weight_bits, step)
    rule_ = _requant(weights, act, act)
    make: dict[str, Callable[[], Conv2d | DepthwiseConv2d | Linear]] = {
        "linear": lambda: Linear(weights, rule_, act),
        "conv2d": lambda: Conv2d(weights, rule_, act, window, shape.groups),
        "depthwise_conv2d": lambda: DepthwiseConv2d(weights, rule_, act, window),
    }
    nodes = (x, Node.make("layer", make[shape.kind](), (x,), scale=0.1, zero=0))
    return check(Graph("bench", nodes, "layer"))


def _unweighted(shape: Shape, window: Window, act: IntType) -> Op:
    """A pool or a requantisation."""
    if shape.kind == "maxpool2d":
        return MaxPool2d(window)
    channels = shape.source[-1] if shape.kind == "requantize" else 1
    taps = shape.kernel[0] * shape.kernel[1]
    low, high = np.full(channels, taps * act.lo), np.full(channels, taps * act.hi)
    ratio = np.linspace(0.3, 0.45, channels) / taps
    rule = snap(ratio, np.zeros(channels), low, high, zero=0, lo=act.lo, hi=act.hi)
    return Requantize(rule, act) if shape.kind == "requantize" else AvgPool2d(window, rule, act)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    shape: str
    weight_bits: int
    act_bits: int
    macs: int
    instructions: int
    cycles: float | None
    code_bytes: int
    const_bytes: int
    ram_bytes: int
    mismatches: int

    def text(self) -> str:
        """A line of the table."""
        cycles = "   n/a" if self.cycles is None else f"{self.cycles / self.macs:6.3f}"
        wrong = "" if self.mismatches == 0 else f"  {self.mismatches} WRONG"
        return (
            f"{self.shape:8s} w{self.weight_bits}a{self.act_bits} {self.macs:9d}"
            f" {self.instructions / self.macs:9.3f} {cycles:>10s} {self.code_bytes:7d}"
            f" {self.const_bytes:7d} {self.ram_bytes:7d}{wrong}"
        )


def measure(
    names: Iterable[str], pairs: Iterable[tuple[int, int]], options: argparse.Namespace
) -> Iterator[Row]:
    """Build, check and count every layer."""
    target = get(options.target)
    architecture = load_core(options.core or target.core or options.target).architecture
    toolchain = find_toolchain(options.compiler, architecture=architecture)
    for name in names:
        for weight_bits, act_bits in pairs:
            graph = one_layer(
                SHAPES[name], weight_bits, act_bits, signed=options.signed, step=options.step
            )
            model = layout(graph, target, "net")
            codes = make_inputs(graph, samples=options.samples)
            core = options.core or target.core
            with Device(model, core, toolchain=toolchain, optimise=options.optimise) as device:
                tally = Tally(model, core)
                tally.add(codes, device.trace(codes))
                count = device.count(make_inputs(graph, samples=1, seed=3, extremes=False))
            if count is None:
                raise SystemExit(f"{core}: nothing is counted on this core")
            node = graph["layer"]
            work = node.op.work(graph.inputs_of(node), node.output)
            macs = node.output.size if work is None or not work.macs else work.macs
            found = count.nodes["layer"]
            yield Row(
                name, weight_bits, act_bits, macs, found.instructions, found.cycles,
                count.code_bytes, model.const_bytes, 4 * model.ram_words, tally.mismatches,
            )  # fmt: skip


def main() -> int:
    """Print the table; 1 when a layer computed other integers than the simulator."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--core", help="emulated core; the target's own when left out")
    parser.add_argument("--pairs", default="8x8,4x8,2x2", help="weight x activation bits, or all")
    parser.add_argument("--shapes", default="C3,C1,DW,FC", help=f"of {','.join(SHAPES)}, or all")
    parser.add_argument("--optimise", default="-O2")
    parser.add_argument("--compiler", choices=("gcc", "zig"))
    parser.add_argument("--signed", action="store_true", help="signed activations")
    parser.add_argument("--step", type=int, default=1, help="2: the zero-free weight grid")
    parser.add_argument("--samples", type=int, default=7, help="inputs compared")
    options = parser.parse_args()
    names = list(SHAPES) if options.shapes == "all" else options.shapes.split(",")
    pairs = (
        [(w, a) for w in range(8, 0, -1) for a in range(8, 0, -1)]
        if options.pairs == "all"
        else [(int(p.split("x")[0]), int(p.split("x")[1])) for p in options.pairs.split(",")]
    )
    started = time.monotonic()
    print("shape    bits       MACs instr/MAC cycles/MAC    code   const     ram")
    wrong = 0
    for row in measure(names, pairs, options):
        print(row.text(), flush=True)
        wrong += row.mismatches
    print(f"{options.target} {options.optimise}, {time.monotonic() - started:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
