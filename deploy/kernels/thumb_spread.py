# SPDX-License-Identifier: Apache-2.0
"""Plans how activations get into column words on cores without DSP."""

from __future__ import annotations

from typing import Any

from ...hw_models.thumb_core import Core
from ...hw_models.thumb_costs import spread_step, straight_rounds
from ..ops.base import Helper, TensorInfo
from .thumb_forms import Form, Lanes


def quads(core: Core, form: Form) -> bool:
    """Whether column words pair activations 0, 2 and 1, 3 of four, as two masks of a word do."""
    return not core.thumb1 and form.unit == 2


def spread_helper(
    core: Core, form: Form, source: TensorInfo, sums: bool, run: int, lefts: bool
) -> Helper:
    """The shared function that writes column words; ``lefts`` of a run go into a lane of others."""
    act = source.type.c_name
    tag = f"{'s' if source.type.signed else 'u'}{'c' if sums else ''}"
    values: dict[str, Any] = {"act": act, "sums": sums, "thumb1": core.thumb1}
    if isinstance(form, Lanes):
        tag += f"m{-form.centre}" if form.centre < 0 else str(form.centre)
        words = (form.centre * 65537) & 0xFFFFFFFF
        values |= {
            "asm": not sums, "centre": form.centre, "words": words, "minus": -words & 0xFFFFFFFF,
            "load": "ldrsb" if source.type.signed else "ldrb",
        }  # fmt: skip
    else:
        quad, step = quads(core, form), spread_step(core.thumb1)
        digits = sum(1 << (form.spacing * i) for i in range(form.span))
        rest = run % step
        # whole words are added up; after so many activations their lanes might overflow
        lane = (1 << min(form.spacing, 16)) - 1
        chunk = lane // form.top * form.span // step * step
        chunked = sums and run > chunk
        used = quad or form.shift_in
        part = run % form.span
        rounds = straight_rounds(core.thumb1, run) if core.assembly else 0
        values |= {
            "span": form.span, "spacing": form.spacing, "shift_in": form.shift_in, "quad": quad,
            "step": step, "rest_words": rest // form.span, "part": part,
            "whole": run - part, "lefts": lefts, "loops": run >= step, "rounds": rounds,
            "chunk": chunk if chunked else 0, "use_mask": bool(used),
            "mask": digits * (form.top if not quad or form.shift_in else 255),
            "half": digits * form.shift_in,
        }  # fmt: skip
        tag += f"{form.span}p{form.shift_in}r{rest}{f's{rounds}' if rounds or run < step else ''}"
        tag += f"k{chunk}" if chunked else "l" if lefts else ""
        tag += f"t{form.top}" if used and form.shift_in else ""
    values["ident"] = f"spread_{form.form}_{tag}"
    return f"thumb_spread_{form.form}", (("k", values),)
