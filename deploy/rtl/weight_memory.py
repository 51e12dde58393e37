# SPDX-License-Identifier: Apache-2.0
"""The weights of a windowed module as a constant memory, in the order its controller reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .plan import Rom, bits_for, signed_bits

if TYPE_CHECKING:
    from .engine import Job


def weight_memory(job: Job) -> tuple[dict[str, Any], Rom]:
    """Literals and memory of the weights.

    Where every weight is odd (the zero-free grids) the lowest bit is left out and wired to 1.
    """
    values = job.weights
    assert values is not None
    low, high, odd = job.grid or (
        int(values.min()), int(values.max()), bool((values % 2 != 0).all())
    )  # fmt: skip
    bits = signed_bits(low, high)
    stored = max(1, bits - int(odd))
    simd = job.simd if job.shared else 1
    depth = job.segments * job.chunks * job.steps
    note = f"{job.pe} x {simd} weights of {stored} bits per word" + (
        ", each followed by a 1 below its lowest bit" if odd else ""
    )
    given = job.source.type
    products = [x * w for x in (given.lo, given.hi) for w in (low, high)]
    product = signed_bits(min(products), max(products))
    literals = {
        "product_bits": product,
        "weight_bits": stored + int(odd), "stored_bits": stored, "odd": odd,
        # two products of one bit each are one function of four inputs
        "paired": simd > 1 and odd and (stored, given.bits, product) == (1, 1, 2),
        "rom_style": "", "rom_words": depth,
        "rom_bits": bits_for(depth - 1),
    }  # fmt: skip
    rom = Rom(
        "weights", job.pe * simd * stored, depth, note, lambda: _weight_words(job, stored, odd)
    )
    return literals, rom


def _weight_words(job: Job, stored: int, odd: bool) -> list[int]:
    """Weights in the order the controller reads them: one word of ``pe`` x ``simd`` per step."""
    values = job.weights
    assert values is not None
    simd = job.simd if job.shared else 1
    kept = values >> 1 if odd else values
    # [segment, chunk, kernel row, kernel column, word, pe, simd]; what pads is never looked at
    table = np.zeros(
        (job.segments, job.chunks, *job.window.kernel, job.words, job.pe, simd), np.int64
    )
    for segment in range(job.segments):
        for out in range(job.outputs):
            channel = segment * job.outputs + out
            if channel >= values.shape[0]:
                continue
            chunk, pe = (out // job.pe, out % job.pe)
            for item in range(job.depth if job.shared else 1):
                table[segment, chunk, :, :, item // simd, pe, item % simd] = (
                    kept[channel, :, :, item]
                )
    mask = (1 << stored) - 1
    words = []
    for row in table.reshape(-1, job.pe * simd):
        word = 0
        for value in reversed(row.tolist()):
            word = (word << stored) | (value & mask)
        words.append(word)
    return words
