# SPDX-License-Identifier: Apache-2.0
"""Writes docs/results/kernels.md from the output of the other benchmarks.

    python benchmarks/kernels_page.py LOGS

LOGS holds k_TARGET.log, n_TARGET.log and t_TARGET.log: what kernels.py, networks.py and truth.py printed for each
target, with the commands that the page names.
"""

# ruff: noqa: E501 (the page's own lines)
from __future__ import annotations

import re
import sys
from pathlib import Path

TARGETS = ("cortex-m4", "cortex-m33", "cortex-m3", "cortex-m0plus", "cortex-m55", "riscv32")
PAIRS = ("w8a8", "w4a8", "w2a2")
NONE = ("-", "-", "-")
GOALS = {
    "cortex-m4": {
        "C3": ("1.10", "1.08", "0.72"), "C1": ("1.28", "1.28", "1.00"),
        "DW": ("2.0", "2.0", "2.0"), "FC": ("1.28", "1.25", "0.75"), "first": ("1.40", "-", "-"),
    },
    "cortex-m0plus": {
        "C3": ("2.8", "2.25", "1.6"), "C1": ("3.3", "2.8", "2.4"),
        "DW": ("6.0", "5.4", "5.4"), "FC": ("3.6", "3.6", "3.0"),
    },
    "cortex-m3": {
        "C3": ("1.95", "1.30", "1.15"), "C1": ("2.2", "1.6", "1.5"),
        "DW": ("3.2", "3.2", "3.2"), "FC": ("2.6", "2.4", "2.4"),
    },
    "cortex-m55": {
        "C3": ("0.17", "-", "-"), "C1": ("0.25", "-", "-"), "DW": ("0.62", "-", "-"),
        "FC": ("0.18", "-", "-"),
    },
}  # fmt: skip

INTRO = """# Kernels, as measured

Instructions per nominal multiply-accumulate (padding counted) of a whole layer: gather, borders, unpacking,
requantisation, clamp and store. Instructions are exact counts of the emitted code on an emulated core;
cycles are estimates from instruction timings without memory wait states (those of Cortex-M55 are assumed
throughout). Every layer was compared with the simulator, every integer, before it was counted. Random weights on
the symmetric grid.

Measured on 2026-11-30 with arm-none-eabi-gcc 12.2.1 at -O2, Unicorn 2.1.4 and, for Cortex-M55, QEMU 7.2.22
(riscv32: zig 0.17.0's clang at -O2):

    python benchmarks/kernels.py --target TARGET --pairs 8x8,4x8,2x2 \\
        --shapes C3,C1,DW,FC,C3b,first,first1,DWs2,C3odd,C1odd,DWodd

Shapes: C3 = 3x3, 16x16x16 to 32; C1 = 1x1, 16x16x32 to 32; DW = depthwise 3x3, 16x16x32; FC = 256 to 64;
C3b = 3x3, 8x8x64 to 64; first = 3x3, 32x32x3 to 16; first1 = 3x3, 28x28x1 to 8; DWs2 = DW with stride 2;
"odd" ones have 15x15 pixels and channel counts that are no multiple of any tile. "goal" is the figure this project
set itself.
"""

NETWORKS = """
On Cortex-M55 every width computes on bytes: narrow codes stay packed in flash and are taken apart once into working
memory or, in long columns, by their sums; they keep bytes where neither is nearly free. Depthwise layers keep bytes. On
Cortex-M0+, M3 and RISC-V a layer of little flash, or one that gains much, may store narrow codes in wider slots.

Fewer bits never cost more than 2 % more instructions on Cortex-M0+, M3, M4, M55 and riscv32, at all 64 pairs of widths,
signed and unsigned (`pytest -m sweep tests/kernels/test_monotone.py`). On riscv32 the upper limit of codes of 2 to 4 bits is two
instructions of assembly with a C twin: clang makes a branch of the C, which codes at the limit take, a quarter of all at 2 bits.

Strides: a depthwise layer of stride 2 takes at most so many times the instructions per multiply-accumulate of stride 1, over
all 64 pairs of widths (`python benchmarks/strides.py TARGET`; the goal is 1.3):

STRIDES

On Cortex-M0+, M3 and riscv32 two channels are gathered together there, and activations are centred once in a
window's sum instead of in every word of the plane where that is cheaper. On Cortex-M0+ rows of the plane with one lane outside
the image are written by half-words. A first layer with 3 channels instead of 4 takes 1.11 to 1.24 times on M0+ and M3.

## Whole networks (MLPerf Tiny shapes, random weights)

    python benchmarks/networks.py --target TARGET --bits 8x8,4x8,2x2

The predictions are those of the committed cost tables; none of these networks was used to fit them. First and last layers
keep 8-bit weights, as training does by default.
"""

TRUTH = """
## How true the tables are

    python benchmarks/truth.py --target TARGET

Predicted against counted instructions of the four networks at 8x8, 4x8 and 2x2 bits and at two random draws of
widths layer by layer. The goal is 2 % for a network and 5 % for a layer.

| target | networks | worst network | worst layer | layers off by more than 5 % |
|---|---|---|---|---|
"""

END = """
On Cortex-M0+ no kernel's cost depends on its data (a test counts every operator at five kinds of inputs). On riscv32 those
beyond 5 % are the first layer of DS-CNN, a strided 1x1 shortcut and convolutions at 2 and 3 bits. Not here: average pools over 2x2
pixels take the same whatever their constants, 30 instructions an output on M0+ and 24 on riscv32.

## Exact everywhere

Every test compares whole tensors of every node with the simulator and knows no tolerance; inputs are random ones and both
ends of their range, weights random or all at the ends. What covers which part of 64 pairs of widths, operators, cores,
compilers and levels:

    pytest tests/c/test_all_widths.py                # every operator, 64 pairs: host; M4 and M0+; a part on riscv32
    pytest -m sweep tests/kernels/test_exact.py      # every operator, 64 pairs, all 8 cores, GCC and clang, -O2 -O3 -Os
    pytest -m sweep tests/kernels/test_levels.py     # every family's own networks at six pairs, all levels and compilers
    pytest -m sweep tests/kernels/test_thumb.py tests/kernels/test_rv32.py tests/kernels/test_mve.py   # the same, 64 pairs

On 2026-11-30, with the committed templates, **0 mismatches**: `test_exact.py` 360 cases of eight networks each (46 minutes on a
busy core), the 168 of M3, M55 and riscv32 again after these cores' last change; its 24 cases of riscv32 with GCC were skipped,
no such compiler was there. `test_levels.py` 58 cases (5 skipped for the same reason), `test_rv32.py` 128, `test_thumb.py` 128,
`test_mve.py` 118, and the networks and layers of this page.

## What stands between these figures and the hardware

A Cortex-M4 can do two multiply-accumulates per instruction (`SMLAD`), a floor of 0.5; loads and unpacking
take the w8 inner loop to 0.875, and the column gather and the requantisation of every output make the rest.
Packing four products into one multiply breaks the 0.5 floor at 2 bits. On Cortex-M0+ a plain 32-bit multiply
carries two products at 4x8 bits and four at 2x2; half of a depthwise layer there is requantisation. A Cortex-M55 does
sixteen products in one `VMLADAVA`, a floor of 0.0625 before loads; each vector of weights and of activations is one
more instruction, and tiles of two pixels by channels share them.
"""


def kernels(logs: Path) -> str:
    """A table per target."""
    text = ""
    for target in TARGETS:
        path = logs / f"k_{target}.log"
        if not path.exists():
            continue
        text += (
            f"\n## {target}\n\n| shape | bits | instructions/MAC | goal | cycles/MAC | code bytes "
            "| constant bytes | RAM bytes |\n|---|---|---|---|---|---|---|---|\n"
        )
        for line in path.read_text(encoding="utf-8").splitlines():
            row = re.match(
                r"(\w+)\s+(w\da\d)\s+\d+\s+([\d.]+)\s+([\d.]+|-)\s+(\d+)\s+(\d+)\s+(\d+)", line
            )
            if row:
                shape, bits, count, *others = row.groups()
                goal = GOALS.get(target, {}).get(shape, NONE)[PAIRS.index(bits)]
                text += f"| {shape} | {bits} | {count} | {goal} | {' | '.join(others)} |\n"
    return text


def strides(logs: Path) -> str:
    """The rows of strides.py."""
    rows = (logs / "strides.log").read_text(encoding="utf-8").splitlines()
    return NETWORKS.replace("STRIDES", "\n".join(row for row in rows if row.startswith("|")))


def networks(logs: Path) -> str:
    """The tables as networks.py printed them."""
    text = ""
    for target in TARGETS:
        lines = (logs / f"n_{target}.log").read_text(encoding="utf-8").splitlines()
        text += f"\n### {target}\n\n" + "\n".join(t for t in lines if t.startswith("|")) + "\n"
    return text


def truth(logs: Path) -> str:
    """A row per target."""
    text = ""
    for target in TARGETS:
        found = re.findall(
            r"predicted ([+-][\d.]+)%; layers: worst ([\d.]+)%, (\d+) of (\d+)",
            (logs / f"t_{target}.log").read_text(encoding="utf-8"),
        )
        worst = max(abs(float(n[0])) for n in found)
        layer = max(float(n[1]) for n in found)
        off, layers = (sum(int(n[i]) for n in found) for i in (2, 3))
        text += f"| {target} | {len(found)} | {worst:.1f} % | {layer:.1f} % | {off} of {layers} |\n"
    return text


def main() -> None:
    logs = Path(sys.argv[1])
    page = INTRO + kernels(logs) + strides(logs) + networks(logs) + TRUTH + truth(logs) + END
    (Path(__file__).parents[1] / "docs/results/kernels.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
