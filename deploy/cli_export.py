# SPDX-License-Identifier: Apache-2.0
"""``adaqat export``: a model as a QONNX or .tflite file."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import Model, OutputScale
from .errors import UsageError

if TYPE_CHECKING:
    from .frontends.tflite_export import Exported
    from .graph import Graph


class Format(Enum):
    """Kinds of files that are written."""

    onnx = "onnx"
    tflite = "tflite"


def export(
    model: Model = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx or .tflite file to write.")],
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="onnx (QONNX) or tflite; by default as the file is named."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples of one run (onnx).")] = 1,
    samples: Annotated[
        int, typer.Option(min=0, help="Inputs of the comparison with LiteRT (tflite).")
    ] = 16,
    output_scale: OutputScale = None,
) -> None:
    """Write a model's integers for other tools: as QONNX, or as .tflite where 8 bits hold them."""
    from .model_source import open_model

    kind = format_.value if format_ else out.suffix.lower().removeprefix(".")
    if kind not in Format.__members__ or out.suffix.lower() != f".{kind}":
        raise UsageError(
            f"--out {out}: .onnx and .tflite files are written, named after their format; name it"
            f" for example net.{format_.value if format_ else 'onnx'}"
        )
    if kind == "tflite" and batch != 1:
        raise UsageError(f"--batch {batch}: .tflite files are written with batch 1; leave it out")
    graph = open_model(model, "native" if kind == "onnx" else "tflite", output_scale)
    if kind == "onnx":
        from .frontends.onnx_export import export_onnx

        export_onnx(graph, out, batch=batch)
    else:
        from .frontends.tflite_export import export_tflite

        exported = export_tflite(graph, out)
    print(f"wrote {out} ({out.stat().st_size} bytes, {len(graph.nodes)} nodes)", file=sys.stderr)
    if kind == "tflite" and samples:
        _compare(graph, out, exported, samples)


def _compare(graph: Graph, out: Path, exported: Exported, samples: int) -> None:
    """Say what differs between the graph and the file in LiteRT."""
    from .litert import EXECUTOR, compare_export
    from .vectors import make_inputs

    found = compare_export(graph, out.read_bytes(), exported, make_inputs(graph, samples=samples))
    print(
        f"{EXECUTOR}: {found['differences']} of {found['values']} integers differ from the graph's,"
        f" by at most {found['largest']}; {found['same_top']} of {found['samples']} largest outputs"
        " are the same",
        file=sys.stderr,
    )
