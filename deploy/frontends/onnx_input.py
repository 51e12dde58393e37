# SPDX-License-Identifier: Apache-2.0
"""The input of an ONNX model: static sizes, order of axes, and its grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from ..ops.source import Input
from ..types import IntType
from .onnx_file import OnnxNode, Sizes, printable
from .onnx_layout import Layout, Shape, node_shape
from .onnx_values import Codes, FloatInput, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder

TYPES = {
    "int8": IntType(8, True), "uint8": IntType(8, False), "int4": IntType(4, True),
    "uint4": IntType(4, False), "int2": IntType(2, True), "uint2": IntType(2, False),
}  # fmt: skip
"""Types of codes by ONNX's name."""
PASSING = ("QuantizeLinear", "DequantizeLinear", "Quant", "Identity", "Cast")
CHANNELS_BEHIND = ((0, 3, 1, 2), (0, 2, 1))
"""Transposes of models whose input has its channels last."""


def declared_shape(name: str, sizes: Sizes) -> Shape:
    """Sizes without the batch axis.

    Raises:
        Unreadable: a size that is not known, or a batch other than 1.
    """
    shown = "x".join(str(v) if v is not None else "?" for v in sizes)
    open_sizes = [str(v or "?") for v in sizes[1:] if not isinstance(v, int) or v < 1]
    if open_sizes:
        raise Unreadable(
            f"input {printable(name)}: shape {shown}, where {', '.join(open_sizes)} is not known;"
            " static sizes are supported; export the model with a fixed input size"
        )
    if len(sizes) < 2 or (isinstance(sizes[0], int) and sizes[0] > 1):
        raise Unreadable(
            f"input {printable(name)}: shape {shown or '()'}; a batch of 1 (or an open one) in"
            " front and up to three more axes are supported; export the model with batch 1"
        )
    if len(sizes) > 4:
        raise Unreadable(
            f"input {printable(name)}: shape {shown}; vectors, sequences (C, L) and images"
            " (C, H, W) are supported; flatten or cut the model"
        )
    return tuple(int(v) for v in sizes[1:] if v is not None)


def read_input(b: Builder) -> dict[str, Tensor]:
    """The tensor of the model's input."""
    ((name, (kind, sizes)),) = b.model.inputs.items()
    shape = declared_shape(name, sizes)
    last = _channels_last(b, name, shape)
    given = FloatInput(name, shape, last, (Layout.plain if last else Layout.canonical)(shape))
    if kind in ("float", "float16", "double"):
        return {name: given}
    if kind not in TYPES:
        raise Unreadable(
            f"input {printable(name)}: type {kind}; float, int8, uint8, int4 and uint4 are"
            " supported; convert it outside the network"
        )
    scale, zero = _grid(b, name)
    return {name: make_input(b, given, TYPES[kind], scale, zero)}


def make_input(b: Builder, given: FloatInput, type_: IntType, scale: float, zero: int) -> Table:
    """The input's node; a second quantiser of the same grid finds the same one."""
    rank = len(given.declared)
    if given.last:
        shape = (1, *given.declared) if rank == 2 else given.declared
        kind = "NC" if rank == 1 else "NHWC"
    else:
        shape = node_shape(given.declared)
        kind = "NCL" if rank == 2 else "NCHW"
    stored = b.model.metadata.get("adaqat.input")
    if stored is not None and (scale, zero) == (1.0, 0):  # an exported graph counts in codes
        scale, zero = stored_grid(stored)
    made = next((n for n in b.nodes if isinstance(n.op, Input)), None)
    if made is not None and (made.output.type, made.output.scale, made.output.zero) != (
        type_, scale, zero
    ):  # fmt: skip
        raise Unreadable(
            "a second quantiser of the input with another grid; one is supported; quantise the"
            " input once"
        )
    if made is None:
        op = Input(shape, type_, kind)
        made = Node.make("input", op, (), scale=scale, zero=zero, source=printable(given.name))
        b.names.add("input")
        b.nodes.insert(0, made)
    codes = np.arange(type_.lo, type_.hi + 1, dtype=np.float64)[None]
    return Table(Codes(made, given.layout), codes)


def stored_grid(text: str) -> tuple[float, int]:
    """Scale and zero point as the export writes them into the metadata."""
    scale, zero = text.split()
    return float(scale), int(zero)


def _readers(b: Builder, name: str) -> list[OnnxNode]:
    return [node for node in b.model.nodes if name in node.inputs]


def _channels_last(b: Builder, name: str, shape: Shape) -> bool:
    """Whether the first thing done to the input is to move its channels to the front."""
    if len(shape) == 1:
        return True
    readers = _readers(b, name)
    while len(readers) == 1 and readers[0].op in PASSING and readers[0].inputs[0] == name:
        name = readers[0].outputs[0]
        readers = _readers(b, name)
    return bool(readers) and all(
        node.op == "Transpose" and tuple(node.attr("perm", ())) in CHANNELS_BEHIND
        for node in readers
    )


def _grid(b: Builder, name: str) -> tuple[float, int]:
    """Scale and zero point of an integer input, from the node that reads it."""
    for node in _readers(b, name):
        if node.op == "DequantizeLinear" or node.op.startswith(("QLinear", "QGemm")):
            at = 1 + node.inputs.index(name)
            scale = b.model.constants.get(node.inputs[at])
            zero = b.model.constants.get(node.inputs[at + 1]) if node.has(at + 1) else None
            if scale is not None and scale.size == 1:
                return float(scale.reshape(())), 0 if zero is None else int(zero.reshape(()))
    return 1.0, 0
