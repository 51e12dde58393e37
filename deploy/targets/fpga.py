# SPDX-License-Identifier: Apache-2.0
"""FPGA families: streaming Verilog, the same text for all; what fits differs."""

from __future__ import annotations

from .base import Target, register

register(Target("fpga-ecp5", "rtl", aliases=("fpga",)))
register(Target("fpga-ice40", "rtl"))
register(Target("fpga-xilinx7", "rtl"))
