# SPDX-License-Identifier: Apache-2.0
"""Writes a graph whose tensors fit 8 bits, or TFLite's 16, as a .tflite file.

Every tensor of up to 8 bits becomes int8: codes move by ``127 - largest code of the type``, so that
the largest one saturates by itself, and the zero point moves with them. Graphs with TFLite's
rounding keep every byte; the rule of this project is met as nearly as the file's arithmetic allows,
and `adaqat.deploy.litert.compare_export` counts what differs (docs/tflite.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..check import check
from ..errors import UnsupportedError, UsageError
from ..extras import require
from ..graph import Graph
from .tflite_growing import File, shift_of


@dataclass(frozen=True)
class Exported:
    """Where a graph's tensors are in the file that was written.

    Attributes:
        tensors: index of the tensor of every node.
        shifts: what was added to the codes of every node.
    """

    tensors: dict[str, int]
    shifts: dict[str, int]


def export_tflite(graph: Graph, path: Path | str) -> Exported:
    """Write a graph as a .tflite file.

    Input and output are int8 codes with scale and zero point; the tensor of a node has its name.

    Args:
        graph: the network; tensors of at most 8 bits, or of 16 bits with TFLite's rounding.
        path: a file to write; an existing one is replaced, whole or not at all.

    Raises:
        UnsupportedError: everything that has no TFLite form, at once.
        ToolError: the ai-edge-litert package is not installed.
        UsageError: a path that cannot be written.
    """
    data, exported = tflite_bytes(graph)
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"{path}: cannot be written ({error.strerror}); give a file in an existing folder"
        ) from error
    return exported


def tflite_bytes(graph: Graph) -> tuple[bytes, Exported]:
    """The file's bytes; see `export_tflite`."""
    from .tflite_writers import WRITERS

    schema = require("ai_edge_litert.schema_py_generated", "tflite")
    check(graph)
    known = ", ".join(sorted(WRITERS))
    file = File(schema, graph)
    problems = []
    for node in graph.nodes:
        where = node.source
        bad = file.misfit(node.output)
        if node.op.kind not in WRITERS:
            bad = (
                f"operator {node.op.kind}; {known} have a TFLite form; replace it or cut the"
                " network"
            )
        if bad:
            problems.append(f"{where}: {bad}")
            file.stand_in(node)
            continue
        try:
            WRITERS[node.op.kind](file, node)
        except UnsupportedError as error:
            problems += [f"{where}: {problem}" for problem in error.problems]
            file.stand_in(node)
    if problems:
        raise UnsupportedError(problems)
    return file.data(), Exported(file.at, {n.name: shift_of(n.output) for n in graph.nodes})
