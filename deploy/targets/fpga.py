# SPDX-License-Identifier: Apache-2.0
"""FPGA families: streaming Verilog, the same text for all; what fits differs."""

from __future__ import annotations

from .base import Target, register

register(Target("fpga-ecp5", "verilog", aliases=("fpga",)))
register(Target("fpga-gowin", "verilog"))
register(Target("fpga-ice40", "verilog"))
register(Target("fpga-xilinx7", "verilog"))
