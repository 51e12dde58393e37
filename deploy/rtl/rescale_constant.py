# SPDX-License-Identifier: Apache-2.0
"""Requantisers of one channel each, the multiplier as adders: all channels every cycle, no DSP.

The form ``clamp((acc*M + B) >> shift)`` of `adaqat.deploy.rtl.rescale`, with M, B and the shift of
the channel itself. Zeros at the end of M leave both sides: ``floor((a*2^t + B) / 2^s)`` is
``floor((a + floor(B / 2^t)) / 2^(s-t))`` for whole ``a``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..requant import Int64, Requant
from ..types import IntType
from .adder_graph import chained, pipeline, register_bits
from .adder_search import search
from .adder_text import adder_values
from .plan import signed_bits
from .rescale import Rescale, linear_form


def plan_constant(rule: Requant, low: Int64, high: Int64, out: IntType, levels: int) -> Rescale:
    """Requantisers for one accumulator of every channel at a time, within ``low[c]..high[c]``.

    Args:
        rule: one entry per channel.
        low: least accumulators.
        high: largest accumulators.
        out: type of the codes.
        levels: adders between registers.
    """
    channels = [_channel(rule, c, int(low[c]), int(high[c]), out, levels) for c in range(len(low))]
    stages = max(lane["stages"] for lane in channels)
    for lane in channels:
        lane["wait"] = stages - lane["stages"]
    sizes = np.array([lane["size"] for lane in channels])
    values: dict[str, Any] = {
        "form": "constant", "lanes": len(channels), "beats": 1, "stages": stages,
        "acc_bits": signed_bits(int(low.min()), int(high.max())), "out_bits": out.bits,
        "lo": rule.lo, "hi": rule.hi, "channels": channels,
        "adder_bits": int(sizes[:, 0].sum()), "adders": int(sizes[:, 1].sum()),
        "negated_bits": int(sizes[:, 2].sum()),
        "chains": sum(lane["chains"] for lane in channels),
        "adder_registers": sum(lane["registers"] + lane["wait"] * out.bits for lane in channels),
        "sum_bits": sum(lane["sum_bits"] for lane in channels),
    }  # fmt: skip
    return Rescale(values, stages + 2)


def _channel(
    rule: Requant, channel: int, low: int, high: int, out: IntType, levels: int
) -> dict[str, Any]:
    one = slice(channel, channel + 1)
    (m,), (b,), shift = linear_form(
        replace(rule, bias=rule.bias[one], m=rule.m[one], s=rule.s[one], z=rule.z[one])
    )
    if m == 0 or low == high:
        code = min(max((low * m + b) >> shift, rule.lo), rule.hi)
        return {"constant": code, "stages": 0, "size": (0, 0, 0), "registers": 0, "sum_bits": 0,
                "chains": 0}  # fmt: skip
    zeros = min(shift, (m & -m).bit_length() - 1)
    m, b, shift = m >> zeros, b >> zeros, shift - zeros
    graph = search(np.array([[m]]), low, high, levels)
    timed = pipeline(graph, levels)
    term = graph.outputs[0]
    assert term is not None
    ends = [end << term.shift for end in graph.ranges[term.node]]
    product = signed_bits(min(ends), max(ends))
    sums = [low * m + b, high * m + b]
    bits = max(
        signed_bits(min(*sums, *ends, b), max(*sums, *ends, b)), product, shift + out.bits + 2
    )
    return {
        "constant": None, "graph": adder_values(graph, timed, product), "in_bits": graph.width(0),
        "product_bits": product, "minus": term.sign < 0, "factor": m, "addend": b, "sum_bits": bits,
        "shift": shift, "stages": timed.stages, "size": graph.size(),
        "registers": register_bits(graph, timed) + bits,
        "chains": chained([*graph.bits(), bits]),
    }  # fmt: skip
