# SPDX-License-Identifier: Apache-2.0
"""Dot products by themselves, synthesised in both forms: products and a tree, bits of the weights.

    python benchmarks/dot_products.py fpga-ecp5 [--terms 16] [--only w2a2,w4s4]

Weights come from ports; ``w4s4`` is 4-bit weights with signed 4-bit inputs. Families without a
carry cell for gated sums (`gated_cell` in their file) get the second form as plain Verilog.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path

from adaqat.deploy.rtl.synthesis import FF_CELLS, LUT_CELLS
from adaqat.deploy.rtl.tools import call, yosys, yosys_version
from adaqat.deploy.rtl.words import print_template
from adaqat.hw_models import Fabric, load_fabric

WIDTHS = "w2a1 w2a2 w3a2 w2a3 w2a4 w3a4 w4a4 w2a8 w8a8 w2s2 w3s3 w4s4 w8s8"
FORMS = {"dot": ("product", "library"), "planes": ("gated", "planes")}


def made(form: str, terms: int, widths: str, fabric: Fabric) -> tuple[int, int]:
    """(LUTs, flip-flops) of one dot product."""
    found = re.fullmatch(r"w(\d)([as])(\d)", widths)
    assert found is not None, widths
    weight, given = int(found[1]), int(found[3])
    values = {
        "N": terms, "LEVELS": (terms - 1).bit_length(), "GIVEN": given,
        "SIGNED": int(found[2] == "s"), "WBITS": weight, "BITS": weight + given,
    }  # fmt: skip
    top = f"net_{form}"
    set_to = " ".join(f"-chparam {name} {value}" for name, value in values.items())
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(print_template(f"verilog/{part}.v.j2", name="net") for part in FORMS[form])
        (Path(folder) / "net.v").write_text(text)
        script = ["read_verilog -D ADAQAT_CELLS net.v", f"hierarchy -top {top} {set_to}"]
        if fabric.gated_cell:
            cells = print_template(f"verilog/cells/{fabric.gated_cell}.v.j2", name="net")
            (Path(folder) / "net_cells.v").write_text(cells)
            script.append("techmap -map net_cells.v")
        script += [f"{fabric.synthesis} -top {top}", "tee -q -o stat.json stat -json"]
        call([*yosys(), "-q", "-p", "; ".join(script)], "a dot product", None, Path(folder))
        stated = json.loads((Path(folder) / "stat.json").read_text())
    cells_made = stated["design"]["num_cells_by_type"].items()
    return (
        sum(LUT_CELLS.get(kind, 0) * count for kind, count in cells_made),
        sum(count for kind, count in cells_made if kind.startswith(FF_CELLS)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--terms", type=int, default=16)
    parser.add_argument("--only", default=WIDTHS.replace(" ", ","))
    args = parser.parse_args()
    fabric = load_fabric(args.target)
    print(yosys_version())
    for widths in args.only.split(","):
        for form in FORMS:
            lut, ff = made(form, args.terms, widths, fabric)
            name = f"{args.target} {args.terms} terms {widths} {form}"
            print(f"{name}: {lut} LUT {ff} FF", flush=True)


if __name__ == "__main__":
    main()
