# SPDX-License-Identifier: Apache-2.0
"""Folded layers whose weights and requantisation can be written while the circuit is configured.

What such a layer is made of depends on shapes and types only, never on the weights of one network:
accumulators are as wide as the worst weights of their grid, thresholds as wide as accumulators. A
multiplying requantiser has `SPARE` bits more than its first network needs, above and below the
point, and takes the constants of any other network that fit them exactly.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import UnsupportedError
from ..ops.weighted import Weights
from ..requant import Int64, Requant
from ..types import IntType
from .plan import Rom, ScaleWidths, Table, bits_for, signed_bits
from .rescale import THRESHOLD_BITS, Rescale, linear_form, packed, spread, thresholds
from .split_product import split_product

SPARE = 2
"""Bits of a multiplier beyond those of the first network, at each end."""


def grid_range(weights: Weights) -> tuple[int, int]:
    """Lowest and highest weight of a grid, used or not."""
    return weights.offset, weights.step * ((1 << weights.bits) - 1) + weights.offset


def worst_accumulator(
    weights: Weights, source: IntType, channels: int, terms: int
) -> tuple[Int64, Int64]:
    """(lowest, highest) per channel of a sum of ``terms`` products, for any weights of the grid."""
    ends = [w * x for w in grid_range(weights) for x in (source.lo, source.hi)]
    one = np.ones(channels, np.int64)
    return one * min(0, terms * min(ends)), one * max(0, terms * max(ends))


def plan_reloadable(
    rule: Requant, low: Int64, high: Int64, out: IntType, lanes: int, channels: int, deep: bool,
    widths: ScaleWidths | None,
) -> tuple[Rescale, tuple[Rom, ...]]:
    """A requantiser with its constants in memories of their own.

    Args:
        rule: constants per channel.
        low: lowest accumulators, of the worst weights.
        high: highest accumulators.
        out: type of the output codes.
        lanes: channels at once.
        channels: channels in all.
        deep: registers behind memories.
        widths: those of a circuit that exists; None chooses them.

    Raises:
        UnsupportedError: constants that do not fit ``widths``.
    """
    rule, low, high = spread(rule, low, high, channels)
    if out.bits > THRESHOLD_BITS:
        return _multiplier(rule, low, high, out, lanes, channels, deep, widths)
    made = thresholds(rule, low, high, out, lanes, channels, deep, flips=True)
    roms = tuple(
        Rom(f"least{lane}_{level}", table.width, table.depth,
            f"thresholds of lane {lane}, bit {out.bits - 1 - level}", partial(_words, table))
        for lane, levels in enumerate(made.values["tables"]) for level, table in enumerate(levels)
    )  # fmt: skip
    blank = [[replace(t, digits="") for t in levels] for levels in made.values["tables"]]
    return replace(made, values={**made.values, "tables": blank, "reload": True}), roms


def _words(table: Table) -> list[int]:
    number, mask = int(table.digits, 16), (1 << table.width) - 1
    return [number >> (table.width * i) & mask for i in range(table.depth)]


def _multiplier(
    rule: Requant, low: Int64, high: Int64, out: IntType, lanes: int, channels: int, deep: bool,
    widths: ScaleWidths | None,
) -> tuple[Rescale, tuple[Rom, ...]]:
    m, b, shift = linear_form(rule)
    acc_bits = signed_bits(int(low.min()), int(high.max()))
    if widths is None:
        widths = ScaleWidths(
            shift + SPARE,
            signed_bits(min(m), max(m)) + 2 * SPARE,
            signed_bits(min(b), max(b)) + 2 * SPARE,
        )
    m, b = _moved(m, b, widths.shift - shift)
    needed = signed_bits(min(m), max(m)), signed_bits(min(b), max(b))
    if needed[0] > widths.m_bits or needed[1] > widths.b_bits:
        raise UnsupportedError(
            [f"requantisation: factors of {needed[0]} and addends of {needed[1]} bits; the circuit"
             f" holds {widths.m_bits} and {widths.b_bits}; emit a circuit of this network"]
        )  # fmt: skip
    m_bits, b_bits = widths.m_bits, widths.b_bits
    sum_bits = max(acc_bits + m_bits, b_bits) + 1
    words = packed(m, b, (m_bits, b_bits), lanes)
    width = lanes * (m_bits + b_bits)
    table = Table(width, len(words), bits_for(len(words) - 1), "")
    split = split_product(acc_bits, m_bits, deep)
    values = {
        "form": "multiplier", "lanes": lanes, "acc_bits": acc_bits, "m_bits": m_bits,
        "b_bits": b_bits, "sum_bits": max(sum_bits, widths.shift + out.bits + 2),
        "shift": widths.shift, "lo": rule.lo, "hi": rule.hi, "out_bits": out.bits,
        "beats": channels // lanes, "table": table, "deep": deep, "reload": True,
        "widths": widths, **split,
    }  # fmt: skip
    note = f"{lanes} x (factor of {m_bits} bits, addend of {b_bits} bits above it) per word"
    rom = Rom("scale", width, len(words), note, lambda: words)
    return Rescale(values, 4 + int(deep) + int(split["split"])), (rom,)


def _moved(m: list[int], b: list[int], places: int) -> tuple[list[int], list[int]]:
    """The same quotients with the point ``places`` bits further up.

    Down only where all factors are whole then; an addend may be floored, as the sum is.
    """
    if places >= 0:
        return [v << places for v in m], [v << places for v in b]
    if any(v & ((1 << -places) - 1) for v in m):
        raise UnsupportedError(
            [f"requantisation: ratios that need {-places} bits more below the point than the"
             " circuit holds; emit a circuit of this network"]
        )  # fmt: skip
    return [v >> -places for v in m], [v >> -places for v in b]
