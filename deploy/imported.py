# SPDX-License-Identifier: Apache-2.0
"""What the command line says about an imported .tflite model beside the usual verification."""

from __future__ import annotations

import sys
from pathlib import Path

from .litert import compare_roundings, compare_with_litert, has_runtime
from .report import Report
from .types import IntArray


def second_opinion(report: Report, model: Path, codes: IntArray, rounding: str) -> None:
    """Add LiteRT's comparison, or the count of what native rounding changes, to a report."""
    if rounding == "native":
        found = compare_roundings(model, codes)
        report.model["rounding"] = {key: v for key, v in found.items() if key != "nodes"}
        print(
            f"native rounding: {found['differences']} of {found['values']} integers differ from"
            f" TFLite's; {found['same_top']} of {found['samples']} largest outputs are the same",
            file=sys.stderr,
        )
    elif has_runtime():
        entry = compare_with_litert(model, codes)
        entry.pop("per_node")
        report.verify.append(entry)
    else:
        print(
            "not compared with LiteRT: no interpreter (pip install 'adaqat-deploy[tflite]')",
            file=sys.stderr,
        )
