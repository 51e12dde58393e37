# SPDX-License-Identifier: Apache-2.0
"""From a trained network to integers on the device, and the proof that they are the same.

The names below are the public interface. Importing this package does not import torch; `lower`
does when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .check import check
from .errors import AdaqatError, ModelFileError, ToolError, UnsupportedError, UsageError
from .graph import Graph, Node
from .model_file import load, save
from .simulate import dequantize_output, quantize_input, simulate
from .types import IntType

if TYPE_CHECKING:
    from .artefact import Artefact, build
    from .frontends.onnx import import_onnx
    from .frontends.onnx_export import export_onnx
    from .frontends.tflite import import_tflite
    from .frontends.tflite_export import export_tflite
    from .frontends.torch import lower
    from .report import Report
    from .verification import verify

_LATER = {
    "Artefact": "artefact",
    "Report": "report",
    "build": "artefact",
    "export_onnx": "frontends.onnx_export",
    "export_tflite": "frontends.tflite_export",
    "import_onnx": "frontends.onnx",
    "import_tflite": "frontends.tflite",
    "lower": "frontends.torch",
    "verify": "verification",
}
"""Names whose modules load compilers, emulators, solvers or torch; imported on first use."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

__all__ = [
    "AdaqatError",
    "Artefact",
    "Graph",
    "IntType",
    "ModelFileError",
    "Node",
    "Report",
    "ToolError",
    "UnsupportedError",
    "UsageError",
    "build",
    "check",
    "dequantize_output",
    "export_onnx",
    "export_tflite",
    "import_onnx",
    "import_tflite",
    "load",
    "lower",
    "quantize_input",
    "save",
    "simulate",
    "verify",
]
