# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels run a depthwise window of any size; planner and cost count agree by it."""

from __future__ import annotations

from dataclasses import dataclass

MOST_PHASES = 4
"""Dilations up to this one keep the columns of a phase apart from the others."""
STRAIGHT = 96
"""Instructions of the kernel rows of one pass, at most, for straight code instead of a loop."""


@dataclass(frozen=True)
class TapsForm:
    """Which instructions one kernel row takes.

    Attributes:
        mode: "dense": neighbouring outputs share every word of x, whose weights are stored for
            both; "sliding": outputs two columns apart, the second one word further; "apart":
            taps one by one; "one": one output at a time.
        together: outputs of a pass.
        words: weight words of a kernel row.
        each: weight words of two taps.
    """

    mode: str
    together: int
    words: int
    each: int


def taps_form(kernel_columns: int, stride: int, dilation: int) -> TapsForm:
    """The form of a kernel row of so many columns."""
    if dilation > 1 and kernel_columns > 1:
        return TapsForm("apart", 2 if stride == 1 else 1, (kernel_columns + 1) // 2, 1)
    if stride == 1:
        count = kernel_columns // 2 + 1
        return TapsForm("dense", 2, 2 * count, 2)
    count = (kernel_columns + 1) // 2
    return TapsForm("sliding" if stride == 2 else "one", 2 if stride == 2 else 1, count, 1)


def phases_of(stride: int, dilation: int, columns: int) -> int:
    """Phases of the columns: the dilation where every phase has as many outputs, else 1."""
    apart = stride == 1 and dilation <= MOST_PHASES and columns % dilation == 0
    return dilation if apart else 1


def row_steps(
    form: TapsForm, kernel_columns: int, dilation: int, together: int
) -> tuple[tuple[str, ...], ...]:
    """Instructions of one kernel row for ``together`` outputs, as text without the row's loop.

    Registers: r0 x, r8 weights, r2 r3 words of x, r4..r7 weights, r9 r10 the outputs.
    """
    found: list[tuple[str, ...]] = []
    weight = ("r4", "r5", "r6", "r7")
    if form.mode == "apart":
        for tap in range(kernel_columns):
            if tap % 2 == 0:
                found.append(("ldr", "r4", "[r8], #4"))
            found.append(("ldr", "r2", f"[r0, #{2 * tap * dilation}]"))
            half = "bt"[tap % 2]
            found += [(f"smla{'bt'[y]}{half}", f"r{9 + y}", "r2", "r4", f"r{9 + y}")
                      for y in range(together)]  # fmt: skip
        return tuple(found)
    count = form.words // form.each
    if form.mode == "sliding" and together == 2:
        found.append(("ldr", "r2", "[r0]"))
    for start in range(0, count, 2):
        pair = min(2, count - start)
        loaded = weight[: pair * form.each]
        found.append(("ldr", "r4", "[r8], #4") if len(loaded) == 1 else
                     ("ldrd", "r4", "r5", "[r8], #8") if len(loaded) == 2 else
                     ("ldm", "r8!", "{r4, r5, r6, r7}"))  # fmt: skip
        if form.mode == "sliding" and together == 2:
            for k in range(pair):
                x, following = (("r2", "r3"), ("r3", "r2"))[(start + k) % 2]
                found.append(("ldr", following, f"[r0, #{4 * (start + k + 1)}]"))
                found.append(("smlad", "r9", x, weight[k], "r9"))
                found.append(("smlad", "r10", following, weight[k], "r10"))
            continue
        if pair == 2 and form.mode != "one":
            found.append(("ldrd", "r2", "r3", f"[r0, #{4 * start}]"))
        else:
            found += [("ldr", ("r2", "r3")[k], f"[r0, #{4 * (start + k)}]") for k in range(pair)]
        for k in range(pair):
            first = weight[k * form.each]
            if 2 * (start + k) < kernel_columns:
                found.append(("smlad", "r9", ("r2", "r3")[k], first, "r9"))
            if together == 2:
                found.append(("smlad", "r10", ("r2", "r3")[k], weight[k * form.each + 1], "r10"))
    return tuple(found)


def is_straight(rows: int, steps: int) -> bool:
    """Whether so many kernel rows of so many instructions are printed one after the other."""
    return rows * (steps + 1) <= STRAIGHT
