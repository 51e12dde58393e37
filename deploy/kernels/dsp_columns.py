# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels build the columns that `dsp_packing` describes."""

from __future__ import annotations

from ...hw_models.dsp_column import FEWEST_BLOCKS
from ...hw_models.dsp_form import unrolled_blocks
from ..ops.base import Helper
from ..ops.weighted import WeightedOp
from . import dsp_packing as dsp

EVERY_BYTE = 0x01010101
EVERY_HALF = 0x00010001
NO_BYTE = 65535


def column_values(op: WeightedOp, scheme: dsp.Scheme) -> dict[str, object]:
    """How four activation bytes become column words."""
    return {
        **_widening(scheme),
        "sum_factor": (scheme.offset << op.requant.p) % dsp.WORD,
        "fill_byte": scheme.act.lo % 256,
    }


def _widening(scheme: dsp.Scheme) -> dict[str, object]:
    bits, shift = scheme.act.bits, scheme.column_shift
    top = (1 << bits) - 1
    flip = (1 << (bits - 1)) * EVERY_BYTE if scheme.act.signed else 0
    # bytes of a signed code carry copies of its sign, which have to go
    byte_mask = top * EVERY_BYTE if scheme.act.signed and bits < 8 else 0
    lanes = (top << shift) * EVERY_HALF
    even, odd = _shifts(scheme)
    return {
        "raw": scheme.mode == "products",
        "sums": scheme.sums,
        "flip_value": flip,
        "flip": f"0x{flip:08X}u" if flip else "",
        "byte_mask_value": byte_mask,
        "byte_mask": f"0x{byte_mask:08X}u" if byte_mask else "",
        "lane_value": lanes,
        "lane_mask": f"0x{lanes:08X}u",
        "even_lanes": _lanes(even),
        "odd_lanes": _lanes(odd),
        "asm_even": _asm_shift(even),
        "asm_odd": _asm_shift(odd),
    }


def _c_shift(shift: tuple[str, int] | None) -> str:
    return f" {shift[0]} {shift[1]}" if shift else ""


def _asm_shift(shift: tuple[str, int] | None) -> str:
    names = {"<<": "lsl", ">>": "lsr"}
    return f", {names[shift[0]]} #{shift[1]}" if shift else ""


def _lanes(shift: tuple[str, int] | None) -> str:
    """Name of the function that masks so shifted lanes."""
    if shift is None:
        return "lanes"
    return f"lanes_{'left' if shift[0] == '<<' else 'right'}{shift[1]}"


def masked_helpers(scheme: dsp.Scheme) -> tuple[Helper, ...]:
    """The functions that take column words out of a word of bytes, for code in C."""
    if scheme.mode == "products":
        return ()
    return tuple(
        ("dsp_masked", (("asm_shift", _asm_shift(s)), ("c_shift", _c_shift(s)), ("tag", _lanes(s))))
        for s in _shifts(scheme)
    )


def _shifts(scheme: dsp.Scheme) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """Shifts that bring bytes 0 and 2, and 1 and 3, of a word to their lanes."""
    shift = scheme.column_shift
    even = ("<<", shift) if shift else None
    odd = ("<<", shift - 8) if shift > 8 else (">>", 8 - shift) if shift < 8 else None
    return even, odd


def widen_helper(scheme: dsp.Scheme, blocks: int) -> Helper | None:
    """The function that widens runs of two pixels; None where they are too short for one.

    It takes the number of its passes, so that layers with runs of different lengths share it.
    """
    if blocks < FEWEST_BLOCKS:
        return None
    values = {**_widening(scheme), "unrolled": unrolled_blocks(blocks)}
    return dsp.helper("dsp_widen", f"widen{values['unrolled']}", values)


def window_helper(
    op: WeightedOp, scheme: dsp.Scheme, window: tuple[tuple[tuple[int, ...], bool], ...]
) -> Helper:
    """The function that widens two whole windows inside the input.

    Args:
        op: the layer.
        scheme: its packing.
        window: for every four weights the offsets of their bytes from the window's first, fewer
            than four where the rest has weight 0, and whether they lie in one word.
    """
    fill = [(*offsets, *[NO_BYTE] * (4 - len(offsets))) for offsets, _ in window]
    flat = [offset for four in fill for offset in four]
    values = {
        **_widening(scheme),
        "fill_byte": scheme.act.lo % 256,
        "window": window,
        "flat": flat,
    }
    return dsp.helper("dsp_window", f"window{len(window)}", values)


def helpers(scheme: dsp.Scheme, kernel: Helper, *more: Helper | None) -> tuple[Helper, ...]:
    """A kernel and what it, its C twin and the building of its columns call."""
    sums: tuple[Helper, ...] = (("dsp_byte_sum", ()),) if scheme.sums else ()
    made = tuple(one for one in more if one is not None)
    twins: tuple[Helper, ...] = (("dsp_guard", ()), ("dsp_smlad", ()), ("dsp_finish", ()))
    return (*twins, kernel, ("dsp_load", ()), *masked_helpers(scheme), *sums, *made)
