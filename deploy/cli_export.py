# SPDX-License-Identifier: Apache-2.0
"""``adaqat export``: a model as a QONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageError


def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="As for deploy: .adaqat, .tflite, .onnx, or a training run's folder.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")],
    batch: Annotated[int, typer.Option(min=1, help="Samples of one run.")] = 1,
) -> None:
    """Write a model's integers as QONNX, for other tools."""
    from .frontends.onnx_export import export_onnx
    from .model_source import open_model

    if out.suffix.lower() != ".onnx":
        raise UsageError(f"--out {out}: .onnx files are written; name it for example net.onnx")
    graph = open_model(model, "native")
    export_onnx(graph, out, batch=batch)
    print(f"wrote {out} ({out.stat().st_size} bytes, {len(graph.nodes)} nodes)", file=sys.stderr)
