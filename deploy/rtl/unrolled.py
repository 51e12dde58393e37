# SPDX-License-Identifier: Apache-2.0
"""Plans of unrolled layers: all products of a window at once, by adders that outputs share.

The weights are the circuit: there is no memory of them and no multiplier. A window over an image is
kept in registers that move on by columns; the rows of a column are read at once from copies of the
input ring. A window of one pixel needs neither. Results leave ``pe`` at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsupportedError
from ..ops.base import TensorInfo, Window
from ..requant import Int64, Requant
from .adder_graph import AdderGraph, chained, pipeline, register_bits
from .adder_search import search
from .adder_text import adder_values
from .elementwise import store_of
from .engine import Job, loops, pads
from .plan import Fold, MapTiming, Port, RtlPlan, WindowTiming, signed_bits, twos
from .rescale import THRESHOLD_BITS, Rescale, plan_rescale
from .rescale_constant import plan_constant
from .window import Ring
from .words import signed_number

if TYPE_CHECKING:
    from ..ops.weighted import WeightedOp

MOST_WEIGHTS = 20_000
"""Weights of a layer that may be unrolled; beyond, the text and the search become unwieldy."""


def plan_unrolled(
    op: WeightedOp,
    source: TensorInfo,
    output: TensorInfo,
    fold: Fold,
    *,
    window: Window,
    pad: int,
    lanewise: bool,
) -> RtlPlan:
    """A convolution, depthwise convolution or linear layer as a constant adder graph.

    Args:
        op: the operator with its weights and requantiser.
        source: its input as an image.
        output: its output as an image.
        fold: ``pe`` results leave at once; requantisers multiply bit by bit where ``serial``.
        window: geometry; 1x1 for a linear layer.
        pad: code outside the image.
        lanewise: every output reads one channel.

    Raises:
        UnsupportedError: too many weights, or a number of results at once that does not fit.
    """
    channels = output.shape[2]
    if op.weight_count > MOST_WEIGHTS:
        raise UnsupportedError(
            [
                f"unrolled engine: {op.weight_count} weights; up to {MOST_WEIGHTS} are supported;"
                " leave this layer folded"
            ]
        )
    if channels % fold.pe or (fold.serial and fold.pe != channels):
        raise UnsupportedError(
            [f"folding: {fold.pe} results at once of {channels}; unrolled, they must divide the"
             " channels, and be all of them where requantisers multiply bit by bit; choose another"
             " folding"]
        )  # fmt: skip
    matrix = tap_matrix(op.weights.values, source.shape[2], window, lanewise)
    graph = search(matrix, source.type.lo, source.type.hi, fold.levels)
    rule, low, high = _signed_outputs(graph, op.requant, channels)
    wide = output.type.bits > THRESHOLD_BITS
    if wide and fold.pe == channels and not fold.serial:
        rescale = plan_constant(rule, low, high, output.type, fold.levels)
    else:
        rescale = plan_rescale(
            rule, low, high, output.type, fold.pe, channels, fold.serial and wide
        )  # fmt: skip
    acc_bits = signed_bits(int(low.min()), int(high.max()))
    common = _Common(graph, fold, source, output, rescale, acc_bits)
    proof = op.proof([source])
    if window == Window((1, 1), (1, 1), window.dilation):
        return _pixel_plan(common, proof)
    return _window_plan(common, window, pad, proof)


def tap_matrix(weights: Int64, channels: int, window: Window, lanewise: bool) -> Int64:
    """Weights as a matrix ``[outputs, inputs]`` over kernel columns, kernel rows, channels."""
    kh, kw = window.kernel
    taps = weights.reshape(len(weights), kh, kw, -1)
    depth = taps.shape[3]
    groups = channels // depth
    found = np.zeros((len(weights), kw, kh, channels), np.int64)
    each = len(weights) // groups
    assert not lanewise or depth == 1
    for output in range(len(weights)):
        first = output // each * depth
        found[output, :, :, first : first + depth] = taps[output].transpose(1, 0, 2)
    return found.reshape(len(weights), -1)


def _signed_outputs(
    graph: AdderGraph, rule: Requant, channels: int
) -> tuple[Requant, Int64, Int64]:
    """The rule for what the graph computes, and its ranges.

    A graph may give the negative of a sum: ``((-n << p) + bias) * m = ((n << p) - bias) * (-m)``.
    """
    if len(rule.m) == 1 and channels != 1:
        rule = replace(
            rule, bias=np.repeat(rule.bias, channels), m=np.repeat(rule.m, channels),
            s=np.repeat(rule.s, channels), z=np.repeat(rule.z, channels),
        )  # fmt: skip
    signs = np.array([term.sign if term else 1 for term in graph.outputs], np.int64)
    ends = [
        (graph.ranges[t.node][0] << t.shift, graph.ranges[t.node][1] << t.shift) if t else (0, 0)
        for t in graph.outputs
    ]
    turned = replace(rule, bias=rule.bias * signs, m=rule.m * signs)
    return turned, np.array([e[0] for e in ends]), np.array([e[1] for e in ends])


class _Common:
    """What both forms share: the graph in its pipeline, the requantiser, the queue."""

    def __init__(
        self,
        graph: AdderGraph,
        fold: Fold,
        source: TensorInfo,
        output: TensorInfo,
        rescale: Rescale,
        acc_bits: int,
    ) -> None:
        self.fold, self.source, self.output, self.rescale = fold, source, output, rescale
        timed = pipeline(graph, fold.levels)
        self.stages = timed.stages
        channels = output.shape[2]
        self.burst = channels // fold.pe
        bits, count, negated = graph.size()
        self.values: dict[str, Any] = {
            "sums": adder_values(graph, timed, acc_bits), "pe": channels, "lanes": fold.pe,
            "simd": source.shape[2], "burst": self.burst, "beats": [self.burst], "partial": False,
            "act_bits": source.type.bits, "act_signed": source.type.signed, "acc_bits": acc_bits,
            "out_bits": output.type.bits, "rescale": rescale.values,
            "adders": count, "adder_bits": bits, "negated_bits": negated,
            "chains": chained(graph.bits()),
            "adder_registers": register_bits(graph, timed), "window_registers": 0,
            "combine": "graph", "rom_style": "",
        }  # fmt: skip

    def queue(self, arithmetic: int, steps: int) -> tuple[int, int, int, int]:
        """(latency, pace, depth, hop) behind ``arithmetic`` cycles; adds the queue's literals.

        Room for the groups that end before the first one has left: it takes ``latency`` cycles to
        the queue, two through it, one to return the credit.
        """
        latency = arithmetic + int(self.burst > 1) + self.rescale.latency
        pace = max(steps, self.burst, self.rescale.pace)
        depth = self.burst * -(-(latency + self.burst + 2) // pace)
        memory = depth - 1 if self.burst == 1 and 1 < depth and pace > 1 else depth
        store = store_of(memory)
        if self.burst == 1 and pace > 1 and depth <= 2:
            store = ("code", "register")[depth - 1]
        self.values.update(depth=depth, memory=memory, store=store, pace=pace, steps=steps)
        return latency, pace, depth, 1 if store == "code" else 2

    def port_in(self, pixels: int) -> Port:
        channels = self.source.shape[2]
        return Port(channels, channels, channels, pixels, self.source.type.bits)

    def port_out(self, pixels: int) -> Port:
        channels = self.output.shape[2]
        return Port(self.fold.pe, channels, channels, pixels, self.output.type.bits)


def _pixel_plan(common: _Common, proof: tuple[str, ...]) -> RtlPlan:
    """A window of one pixel: straight from the input stream into the adders."""
    pixels = common.source.shape[0] * common.source.shape[1]
    latency, pace, depth, hop = common.queue(common.stages, 1)
    output = common.port_out(pixels)
    timing = MapTiming(((0,),), output.beats, pace, latency, depth, common.burst, hop)
    return RtlPlan(
        "window/unrolled_pixel", common.values, (common.port_in(pixels),), output, timing, (), proof
    )


def _window_plan(common: _Common, window: Window, pad: int, proof: tuple[str, ...]) -> RtlPlan:
    """A window in registers: filled column by column at the start of a row, then it moves on."""
    source, output = common.source, common.output
    ring = Ring.over(source.shape[0], source.shape[1], window, common.fold.ahead)
    (out_rows, out_columns), (kh, kw) = ring.out_hw, window.kernel
    span = (kw - 1) * window.dilation[1] + 1
    steps = min(span, window.stride[1])
    # columns behind the image, which are columns before it for the next row
    reach = span + (out_columns - 1) * window.stride[1] - window.pad[1]
    common_pad = min(window.pad[1], max(0, reach - ring.width), span - 1)
    first = span - common_pad
    job = Job(
        "", "graph", True, source, output, window, 1, pad, None, (0, 0), output.shape[2],
        source.shape[2],
    )  # fmt: skip
    found = loops(job, ring)
    latency, pace, depth, hop = common.queue(2 + common.stages, min(steps, first))
    timing = WindowTiming(
        1, ring.pixels, ring.capacity, tuple(ring.need()), tuple(ring.release()), (common.burst,),
        common.burst, steps, pace, latency, depth, hop, (out_columns, first),
    )  # fmt: skip
    values = {
        **found, **pads(job), **common.values, "copies": kh, "span": span,
        "window_registers": kh * (1 + span) * source.shape[2] * source.type.bits,
        "loops": [(name, count) for name, count in found["loops"] if name in ("x", "y")],
        **_moves(ring, steps, span, common_pad, found["ring_bits"], found["edge_bits"]),
        "row_steps": first, "window_steps": steps, "kept_columns": common_pad,
        "tap_columns": [(kw - 1 - kx) * window.dilation[1] for kx in range(kw)],
    }  # fmt: skip
    return RtlPlan(
        "window/unrolled", values, (common.port_in(ring.pixels),),
        common.port_out(out_rows * out_columns), timing, (), proof,
    )  # fmt: skip


def _moves(
    ring: Ring, steps: int, span: int, kept: int, ring_bits: int, edge: int
) -> dict[str, Any]:
    """Steps of the column that is read, and which of its rows lie outside the image.

    Rows begin with ``kept`` columns that the row before has left there.
    """
    window, width = ring.window, ring.width
    rows, columns = ring.out_hw
    (sv, sh), (top, left, _, _) = window.stride, window.pad
    back = kept - (span - 1 + (columns - 1) * sh)
    moves = {
        "column": (1, 1, 0),
        "window": (sh - steps + 1, sh - steps + 1, 0),
        "row": (sv * width + back, back, sv),
        "frame": (ring.pixels - (rows - 1) * sv * width + back, back, -(rows - 1) * sv),
    }
    starts, outside = [], []
    beside = []
    if left > kept:
        beside.append(f"tap_x < {signed_number(0, edge)}")
    if (columns - 1) * sh - left + span > width:
        beside.append(f"tap_x >= {signed_number(width, edge)}")
    for ky in range(window.kernel[0]):
        down = ky * window.dilation[0]
        starts.append(twos((down - top) * width - left + kept, ring_bits))
        tests = []
        if down < top:
            tests.append(f"tap_y < {signed_number(-down, edge)}")
        if (rows - 1) * sv - top + down >= ring.height:
            tests.append(f"tap_y >= {signed_number(ring.height - down, edge)}")
        if tests or beside:
            outside.append((ky, tests + beside))
    return {
        "moves": {
            name: (twos(q, ring_bits), twos(x, edge), twos(y, edge))
            for name, (q, x, y) in moves.items()
        },
        "starts": starts, "outside": outside, "bordered": [ky for ky, _ in outside],
        "tracks_x": bool(beside), "tracks_y": any("tap_y" in t for _, ts in outside for t in ts),
        "start_x": twos(kept - left, edge),
    }  # fmt: skip
