# SPDX-License-Identifier: Apache-2.0
"""Adder graphs of da4ml as Verilog, for `engines.py adders --da4ml` (used as a tool, LGPL-3)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np


def da4ml_texts(weights: np.ndarray, act_bits: int) -> dict[str, str]:
    """Verilog of da4ml for the same matrix, every sum registered."""
    from da4ml.codegen.rtl import VerilogModel
    from da4ml.trace import FixedVariableArrayInput, HWConfig, comb_trace

    inputs = weights.shape[1]
    given = FixedVariableArrayInput(inputs, hwconf=HWConfig(1, -1, -1))
    x = given.quantize(
        np.zeros(inputs, int), np.full(inputs, act_bits), np.zeros(inputs, int)
    )  # fmt: skip
    graph = comb_trace(given, x @ weights.T.astype(np.float64))
    with tempfile.TemporaryDirectory() as made:
        VerilogModel(graph, "dut", made, latency_cutoff=1, print_latency=False).write()
        files = [*Path(made).glob("src/dut.v"), *Path(made).glob("src/dut_stage*.v"),
                 *Path(made).glob("src/static/*.v")]  # fmt: skip
        return {
            file.name: file.read_text() for file in sorted(files)
            if file.name != "lookup_table.v" and not re.search("wrapper", file.name)
        }  # fmt: skip
