# SPDX-License-Identifier: Apache-2.0
"""What the command line says about an imported model beside the usual verification."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from .errors import ToolError
from .frontends.tflite import read_tflite
from .graph import Graph
from .litert import compare_roundings, compare_with_litert, has_runtime
from .model_source import is_onnx, is_tflite
from .onnx_reference import compare_with_onnx
from .report import Report
from .simulate import simulate
from .types import IntArray


def second_opinion(
    report: Report, model: Path, graph: Graph, codes: IntArray, rounding: str
) -> None:
    """Add LiteRT's comparison, or the count of what native rounding changes, to a report.

    Models of other kinds have none.

    LiteRT is compared with the graph that holds every channel of the file, and the outputs of
    that one with the deployed ``graph``, from which constant channels are gone.
    """
    if is_onnx(model):
        _onnx_opinion(report, model, graph, codes)
        return
    if not is_tflite(model):
        return
    if rounding == "native":
        found = compare_roundings(model, codes)
        report.model["rounding"] = {key: v for key, v in found.items() if key != "nodes"}
        print(
            f"native rounding: {found['differences']} of {found['values']} integers differ from"
            f" TFLite's; {found['same_top']} of {found['samples']} largest outputs are the same",
            file=sys.stderr,
        )
    elif has_runtime():
        whole = read_tflite(model)
        entry = compare_with_litert(model, codes, whole)
        entry.pop("per_node")
        differs = simulate(whole.graph, codes) != simulate(graph, codes)
        entry["values"] += differs.size
        entry["mismatches"] += int(np.count_nonzero(differs))
        report.verify.append(entry)
    else:
        print(
            "not compared with LiteRT: no interpreter (pip install 'adaqat-deploy[tflite]')",
            file=sys.stderr,
        )


def _onnx_opinion(report: Report, model: Path, graph: Graph, codes: IntArray) -> None:
    try:
        found = compare_with_onnx(model, graph, codes)
    except ToolError as error:
        print(f"not compared with ONNX: {error}", file=sys.stderr)
        return
    report.model["rounding"] = found
    print(
        f"native rounding: {found['differences']} of {found['values']} output codes differ from"
        f" {found['executor']}'s, by at most {found['largest']}; {found['same_top']} of"
        f" {found['samples']} largest outputs are the same",
        file=sys.stderr,
    )
