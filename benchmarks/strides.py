# SPDX-License-Identifier: Apache-2.0
"""What a depthwise layer of stride 2 costs per multiply-accumulate, against stride 1.

    python benchmarks/strides.py cortex-m4 [cortex-m55 ...]

Every pair of widths, signed and unsigned; the layers DW and DWs2 of kernels.py, compared with the
simulator before they are counted. One line per sign: the worst ratio and where it is.
"""

from __future__ import annotations

import sys
from argparse import Namespace

from kernels import measure

WIDTHS = range(8, 0, -1)
PAIRS = [(w, a) for w in WIDTHS for a in WIDTHS]


def worst(target: str, signed: bool) -> tuple[float, str]:
    """(ratio, the pair of widths that has it)."""
    options = Namespace(target=target, core=None, compiler=None, optimise="-O2", signed=signed,
                        step=1, samples=1)  # fmt: skip
    cost: dict[str, dict[str, float]] = {"DW": {}, "DWs2": {}}
    for row in measure(cost, PAIRS, options):
        if row.mismatches:
            raise SystemExit(f"{target} {row.text()}")
        cost[row.shape][f"w{row.weight_bits}a{row.act_bits}"] = row.instructions / row.macs
    return max((cost["DWs2"][pair] / each, pair) for pair, each in cost["DW"].items())


def main() -> None:
    print("| target | unsigned inputs | signed inputs |\n|---|---|---|")
    for target in sys.argv[1:]:
        cells = " | ".join(
            "{:.3f} at {}".format(*worst(target, signed)) for signed in (False, True)
        )
        print(f"| {target} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
