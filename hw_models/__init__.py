# SPDX-License-Identifier: Apache-2.0
"""Measured hardware models: what a node costs on a target, and where each figure is from.

``load(target)`` gives the cost model that steers the bit-widths in training and predicts the
cost of the emitted network. Cores, cycle tables and cost tables are TOML files beside the code.
"""

from . import dsp_work as dsp_work
from . import mve_work as mve_work
from . import thumb_work as thumb_work
from .core import Architecture, Core, core_names, load_core
from .core_timing import Timing, load_timing, timing_hash, timing_names
from .errors import HwModelError
from .fabric import Fabric, fabric_names, load_fabric
from .fpga_board import FpgaBoard, fpga_board_names, fpga_boards_of, load_fpga_board
from .model import Cost, HwModel, NodeCost, Widths, load, load_table, names

__all__ = [
    "Architecture",
    "Core",
    "Cost",
    "Fabric",
    "FpgaBoard",
    "HwModel",
    "HwModelError",
    "NodeCost",
    "Timing",
    "Widths",
    "core_names",
    "fabric_names",
    "fpga_board_names",
    "fpga_boards_of",
    "load",
    "load_core",
    "load_fabric",
    "load_fpga_board",
    "load_table",
    "load_timing",
    "names",
    "timing_hash",
    "timing_names",
]
