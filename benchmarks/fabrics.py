# SPDX-License-Identifier: Apache-2.0
"""Makes hw_models/fabrics/<target>.toml: what features of a circuit cost, by synthesis with yosys.

    python benchmarks/fabrics.py fpga-ice40 [fpga-ecp5 fpga-xilinx7]

The designs are one network of every operator at several widths and foldings, and the shipped digits
network; every module is synthesised by itself and the prices fitted to all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from nets import every_operator  # noqa: E402

from adaqat.deploy.errors import UnsupportedError  # noqa: E402
from adaqat.deploy.rtl.design import Design, lay_out  # noqa: E402
from adaqat.deploy.rtl.memory_style import with_fitting_memories  # noqa: E402
from adaqat.deploy.rtl.plan import Fold  # noqa: E402
from adaqat.deploy.rtl.prices import Fit, fit  # noqa: E402
from adaqat.deploy.rtl.tools import yosys_version  # noqa: E402
from adaqat.deploy.targets import get  # noqa: E402
from adaqat.hw_models import load_fabric  # noqa: E402

CASES = ((2, 2, 1), (4, 4, 2), (8, 8, 3), (1, 1, 6), (3, 5, 4), (6, 3, 5))
"""(weight bits, activation bits, seed of the foldings)."""


def designs(target: str, cases: int) -> list[Design]:
    """One network of every operator per case."""
    fabric = load_fabric(target)
    return [
        with_fitting_memories(lay_out(net, get(target), "net", folds(net, seed)), fabric)
        for weight_bits, act_bits, seed in CASES[:cases]
        for net in [every_operator(weight_bits, act_bits, signed=seed % 2 == 0)]
    ]


def folds(net, seed: int) -> dict[str, Fold]:
    """Random foldings that work."""
    rng = np.random.default_rng(seed)
    found = {}
    for node in net.nodes:
        if node.op.kind in ("input", "reshape"):
            continue
        most = node.op.fold_limits(net.inputs_of(node), node.output)
        for _ in range(40):
            fold = Fold(
                int(rng.integers(1, min(most[0], 4) + 1)),
                int(rng.integers(1, min(most[1], 4) + 1)), bool(rng.integers(0, 2)),
            )  # fmt: skip
            try:
                node.op.rtl_plan(net.inputs_of(node), node.output, fold)
            except UnsupportedError:
                continue
            found[node.name] = fold
            break
    return found


def templates_hash() -> str:
    """SHA-256 over the Verilog templates that are synthesised."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "templates" / "verilog").rglob("*.j2")):
        if file.parent.name != "project" and file.name != "harness.cpp.j2":
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def write(target: str, made: Fit, cases: int) -> None:
    """Replace the measured part of the family's file, keep the device."""
    path = ROOT / "hw_models" / "fabrics" / f"{target}.toml"
    text = path.read_text()
    head = text[: text.index("modules = ")].replace("measured = false", "measured = true")
    lines = [
        f"modules = {made.modules}",
        f"mean_error = {made.mean_error}",
        f"max_error = {made.max_error}",
    ]
    for title, prices in (("lut", made.lut), ("ff", made.ff)):
        lines += ["", f"[{title}]", *(f"{name} = {price}" for name, price in prices.items())]
    # without the build paths of the tool's own compiler
    tool = yosys_version().split(",")[0] + ")"
    script = re.sub(r"\s+", " ", load_fabric(target).synthesis)
    lines += [
        "", "[provenance]", f"command = \"python benchmarks/fabrics.py --cases {cases} {target}\"",
        f"tool = {json.dumps(tool)}", f"script = \"{script} -noflatten\"",
        f"template_sha256 = \"{templates_hash()}\"",
    ]  # fmt: skip
    path.write_text(head + "\n".join(lines) + "\n")


def main() -> None:
    arguments = sys.argv[1:]
    cases = len(CASES)
    if arguments[:1] == ["--cases"]:
        cases, arguments = int(arguments[1]), arguments[2:]
    for target in arguments or ["fpga-ecp5", "fpga-ice40", "fpga-xilinx7"]:
        made = fit(designs(target, cases), load_fabric(target))
        print(target, made, flush=True)
        write(target, made, cases)


if __name__ == "__main__":
    main()
