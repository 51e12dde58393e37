# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels unroll their inner loops, and the weight streams that drive them.

A loop reads its length from the stream, so that layers of different sizes share one function as
long as their words divide by its unrolled count. What does not divide becomes straight code after
the loop, or instead of it where the row is short.
"""

from __future__ import annotations

import numpy as np

from ...hw_models.dsp_form import Loop
from ..ops.base import CArray
from ..ops.weighted import WeightedOp
from ..requant import Int64
from . import dsp_packing as dsp


def stream(
    op: WeightedOp,
    scheme: dsp.Scheme,
    codes: Int64,
    together: int,
    loop: Loop,
    column_step: int,
    groups: int = 1,
) -> CArray:
    """Lengths, weights and constants in the order in which a kernel reads them.

    Args:
        op: the layer.
        scheme: its packing.
        codes: stored codes ``[outputs, K]`` in the order of the column, K a multiple of 4.
        together: output channels of a tile; the last tile of a group is filled with zeros.
        loop: the kernel's inner loop.
        column_step: bytes of the column per column word.
        groups: channel groups, one stream after the other.
    """
    constants = np.stack(dsp.constants(op, scheme), axis=1)
    sums = column_step if scheme.sums and not scheme.late else 0
    looped = column_step * loop.looped_columns
    found: list[int] = []
    size = len(codes) // groups
    for start in range(0, len(codes), size):
        group = slice(start, start + size)
        words = dsp.pack_words(codes[group], scheme)
        body = _tiles(words, constants[group], scheme, together, dsp.same_zero(op.requant) is None)
        # tiles of product groups multiply their sums by a word
        factor = [1 << scheme.shift] if column_step == 8 and scheme.mode == "products" else []
        found += [4 * len(body), looped + sums if looped else 0, *factor, *body]
    layout = ["biases", f"weights ({scheme.mode} of {scheme.bits} bits)"]
    note = ", ".join(reversed(layout) if scheme.late else layout)
    note = f"bytes here and in the column's loop; for {together} channels each: {note}, multipliers"
    return CArray("w", "uint32_t", tuple(found), note)


def _tiles(
    words: Int64, constants: Int64, scheme: dsp.Scheme, together: int, own_zeros: bool
) -> list[int]:
    """One group: words ``[outputs, words]`` and constants ``[outputs, 3]``, tile by tile."""
    fill = ((0, -len(words) % together), (0, 0))
    words, constants = np.pad(words, fill), np.pad(constants, fill)
    found: list[int] = []
    for c in range(0, len(words), together):
        weights = words[c : c + together].T.reshape(-1).tolist()
        bias, factor, zero = constants[c : c + together].T.tolist()
        found += [*weights, *bias] if scheme.late else [*bias, *weights]
        found += factor
        if own_zeros:
            found += [z % dsp.WORD for z in zero]
    return found
