# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        help="An .adaqat, .tflite or .onnx file, or the folder of a training run; without it, the"
        " small trained digits network that ships with the package.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
BoardName = Annotated[
    str | None,
    typer.Option(
        help="A board with the target's core: its clock and energy count, and the waits for its"
        " flash. With an FPGA of the target's family: a project with its pins and serial line is"
        " emitted. 'adaqat targets' lists them.",
        show_default=False,
    ),
]
TargetName = Annotated[
    str, typer.Option("--target", "-t", help="The device; 'adaqat targets' lists them.")
]
OutputScale = Annotated[
    float | None,
    typer.Option(
        help="Of an .onnx model whose output is not quantised: the real size of one output code;"
        " the output becomes 8 bits signed.",
        show_default=False,
    ),
]
