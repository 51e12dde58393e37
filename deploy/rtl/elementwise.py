# SPDX-License-Identifier: Apache-2.0
"""Plans of modules that turn beats into beats: sum of tensors, concatenation, change of grid."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np

from ..ops.base import TensorInfo
from ..requant import AddRequant, Requant
from .plan import Fold, MapTiming, Port, RtlPlan, signed_bits
from .rescale import plan_rescale


def pixels(info: TensorInfo) -> int:
    """Pixels of a frame: positions that share their channels' constants."""
    return info.size // info.shape[-1]


def dividing(lanes: int, channels: int) -> int:
    """The largest number of lanes up to ``lanes`` that divides the channels."""
    return max(n for n in range(1, min(lanes, channels) + 1) if channels % n == 0)


def port(info: TensorInfo, lanes: int) -> Port:
    """A stream of a tensor."""
    channels = info.shape[-1]
    return Port(lanes, channels, channels, pixels(info), info.type.bits)


def store_of(depth: int) -> str:
    """The library's module for a queue: registers for a few beats, else a memory."""
    return "queue" if depth <= 4 else "fifo"


def queue(latency: int) -> int:
    """Beats in the output queue that let one beat leave every cycle: there and back again."""
    return latency + 3


def plan_add(
    rule: AddRequant, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold,
    proof: tuple[str, ...],
) -> RtlPlan:
    """A sum: products, sum with rounding, shift and clamp, one register each."""
    lanes = dividing(fold.pe, output.shape[-1])
    target = port(output, lanes)
    sources = tuple(port(info, lanes) for info in inputs)
    if fold.serial and len(inputs) == 2 and min(rule.m) >= 0:
        values, latency, pace = _serial_add(rule, inputs, output, lanes)
    else:
        values, latency, pace = _parallel_add(rule, inputs, output, lanes, fold.deep)
    depth = queue(latency) if pace == 1 else 2
    timing = MapTiming((tuple(range(len(inputs))),), target.beats, pace, latency, depth)
    # the serial form keeps a result until the next one, which comes only after the credit of one
    # before has returned
    store = "register" if pace > 1 else store_of(depth)
    values = {**values, "depth": depth, "store": store}
    return RtlPlan("add", values, sources, target, timing, (), proof)


def _parallel_add(
    rule: AddRequant, inputs: Sequence[TensorInfo], output: TensorInfo, lanes: int, deep: bool
) -> tuple[dict[str, Any], int, int]:
    """(literals, latency, pace): products, rounded sum, shift with clamp, one register each."""
    ends = [
        sorted((m * info.type.lo, m * info.type.hi))
        for m, info in zip(rule.m, inputs, strict=True)
    ]
    constant = rule.bias + (1 << (rule.s - 1)) + (rule.z << rule.s)
    low, high = sum(e[0] for e in ends) + constant, sum(e[1] for e in ends) + constant
    bits = max(signed_bits(min(low, constant, *(e[0] for e in ends)),
                           max(high, constant, *(e[1] for e in ends))),
               rule.s + output.type.bits + 2,
               *(signed_bits(info.type.lo, info.type.hi) + signed_bits(min(m, 0), max(m, 0))
                 for m, info in zip(rule.m, inputs, strict=True)))  # fmt: skip
    values = {
        "lanes": lanes, "signed": [info.type.signed for info in inputs],
        "in_bits": [info.type.bits for info in inputs], "m": list(rule.m),
        "m_bits": [signed_bits(min(m, 0), max(m, 0)) for m in rule.m], "constant": constant,
        "sum_bits": bits, "shift": rule.s, "lo": rule.lo, "hi": rule.hi,
        "out_bits": output.type.bits, "form": "parallel", "deep": deep,
    }  # fmt: skip
    return values, 3 + int(deep), 1


def _serial_add(
    rule: AddRequant, inputs: Sequence[TensorInfo], output: TensorInfo, lanes: int
) -> tuple[dict[str, Any], int, int]:
    """Bit i of both multipliers a cycle: ``P = (P + m0[i]*x0 + m1[i]*x1) >> 1`` from the constant.

    Floors nest as in the serial requantiser. Where the shift is smaller than the multipliers'
    bits, inputs and constant are shifted left by the difference first.
    """
    steps = max(1, max(rule.m).bit_length())
    extra = max(0, steps - rule.s)
    constant = (rule.bias + (1 << (rule.s - 1)) + (rule.z << rule.s)) << extra
    low = sum(min(0, info.type.lo) for info in inputs)
    high = sum(max(0, info.type.hi) for info in inputs)
    both_bits = signed_bits(low, high)
    rest = rule.s + extra - steps
    p_bits = max(signed_bits(constant, constant), both_bits + extra) + 1
    p_bits = max(p_bits, rest + output.type.bits + 2)
    values = {
        "form": "serial", "lanes": lanes, "signed": [info.type.signed for info in inputs],
        "in_bits": [info.type.bits for info in inputs], "both_bits": both_bits,
        "m": list(rule.m), "steps": steps, "extra": extra, "constant": constant, "rest": rest,
        "turns": [f"{_turns(m, steps):x}" for m in rule.m],
        "p_bits": p_bits, "lo": rule.lo, "hi": rule.hi, "out_bits": output.type.bits,
    }  # fmt: skip
    return values, steps + 2, steps + 2


def _turns(m: int, steps: int) -> int:
    """A multiplier's bits, the lowest where ``steps`` turns are left, the highest where one is."""
    return sum((m >> i & 1) << (steps - i) for i in range(steps))


def plan_concat(
    inputs: Sequence[TensorInfo], output: TensorInfo, lanes: int
) -> RtlPlan:
    """Beats of the inputs in turn, pixel by pixel."""
    lanes = dividing(lanes, gcd(*(info.shape[-1] for info in inputs)))
    order = [(i,) for i, info in enumerate(inputs) for _ in range(info.shape[-1] // lanes)]
    target = port(output, lanes)
    values = {
        "lanes": lanes, "bits": output.type.bits, "order": [i for (i,) in order],
        "inputs": len(inputs), "depth": queue(0), "store": store_of(queue(0)),
    }  # fmt: skip
    timing = MapTiming(tuple(order), target.beats, 1, 0, queue(0))
    return RtlPlan("concat", values, tuple(port(info, lanes) for info in inputs), target, timing)


def plan_requantize(
    rule: Requant, source: TensorInfo, output: TensorInfo, fold: Fold, proof: tuple[str, ...]
) -> RtlPlan:
    """The requantisation rule on a stream of codes."""
    channels = output.shape[-1]
    lanes = dividing(fold.pe, channels)
    low = np.full(channels, source.type.lo, np.int64)
    high = np.full(channels, source.type.hi, np.int64)
    rescale = plan_rescale(
        rule, low, high, output.type, lanes, channels, deep=fold.deep
    )
    values = {
        "lanes": lanes, "in_bits": source.type.bits, "signed": source.type.signed,
        "acc_bits": signed_bits(source.type.lo, source.type.hi), "out_bits": output.type.bits,
        "rescale": rescale.values, "depth": queue(rescale.latency),
        "store": store_of(queue(rescale.latency)),
    }  # fmt: skip
    target = port(output, lanes)
    timing = MapTiming(((0,),), target.beats, 1, rescale.latency, queue(rescale.latency))
    return RtlPlan("requantize", values, (port(source, lanes),), target, timing, (), proof)
