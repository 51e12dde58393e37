# SPDX-License-Identifier: Apache-2.0
"""From a trained network to integers on the device, and the proof that they are the same.

The names below are the public interface. Importing this package does not import torch; `lower`
does when it is called.
"""

from __future__ import annotations

from .check import check
from .errors import AdaqatError, ModelFileError, ToolError, UnsupportedError, UsageError
from .graph import Graph, Node
from .model_file import load, save
from .simulate import dequantize_output, quantize_input, simulate
from .types import IntType

__all__ = [
    "AdaqatError",
    "Graph",
    "IntType",
    "ModelFileError",
    "Node",
    "ToolError",
    "UnsupportedError",
    "UsageError",
    "check",
    "dequantize_output",
    "load",
    "quantize_input",
    "save",
    "simulate",
]
