# SPDX-License-Identifier: Apache-2.0
"""The NumPy integer simulator: the meaning of a graph, and the reference of every executor."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np

from .errors import UsageError
from .graph import Graph
from .ops.source import Input
from .requant import Float64, round_half_up
from .types import IntArray


@overload
def simulate(graph: Graph, x: IntArray, *, keep: Literal[False] = False) -> IntArray: ...
@overload
def simulate(graph: Graph, x: IntArray, *, keep: Literal[True]) -> dict[str, IntArray]: ...


def simulate(
    graph: Graph, x: IntArray, *, keep: bool = False
) -> IntArray | dict[str, IntArray]:
    """Run a graph on integer codes.

    Args:
        graph: the network.
        x: input codes ``[N, *input shape]``, channels last, any integer dtype.
        keep: return every node's tensor by name instead of the output alone.

    Returns:
        Output codes ``[N, *output shape]`` in the container dtype of the output type, or all.

    Raises:
        UsageError: wrong shape, a dtype that is not integer, or a code outside the input's type.
    """
    values = {graph.input_node.name: check_codes(graph, x)}
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for position, node in enumerate(graph.nodes[1:], start=1):
        result = node.op.run([values[name] for name in node.inputs])
        values[node.name] = result.astype(node.output.type.dtype, copy=False)
        if not keep:
            for name in set(node.inputs):
                if last_use[name] == position and name != graph.output:
                    del values[name]
    return values if keep else values[graph.output]


def check_codes(graph: Graph, x: IntArray) -> IntArray:
    """Input codes in the input's container dtype, after checking shape and range."""
    info = graph.input_node.output
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.integer):
        raise UsageError(
            f"input: dtype {x.dtype}; integer codes are expected; call quantize_input for floats"
        )
    if x.shape[1:] != info.shape:
        raise UsageError(
            f"input: shape {x.shape}; [N, {', '.join(map(str, info.shape))}] (channels last) is"
            " expected"
        )
    if not info.type.contains(x):
        raise UsageError(
            f"input: codes {x.min()}..{x.max()}; {info.type} holds {info.type.lo}..{info.type.hi}"
        )
    return x.astype(info.type.dtype, copy=False)


def quantize_input(graph: Graph, x: Float64) -> IntArray:
    """Codes ``[N, *input shape]`` of floats in the source model's own layout (for example NCHW).

    code = clamp(floor(x / scale + 0.5) + zero), computed in float64.
    """
    node = graph.input_node
    assert isinstance(node.op, Input)
    info = node.output
    if node.op.layout == "NCL" and x.ndim == 3:
        x = x[:, :, None]
    if node.op.layout in ("NCHW", "NCL") and len(info.shape) == 3:
        x = np.moveaxis(x, 1, -1)
    if x.shape[1:] != info.shape:
        raise UsageError(
            f"input: shape {x.shape} after moving channels last; [N,"
            f" {', '.join(map(str, info.shape))}] is expected"
        )
    codes = round_half_up(np.asarray(x, np.float64) / info.scale) + info.zero
    return np.clip(codes, info.type.lo, info.type.hi).astype(info.type.dtype)


def dequantize_output(graph: Graph, codes: IntArray) -> Float64:
    """Real values of output codes: ``scale * (code - zero)``."""
    info = graph.output_node.output
    return (codes.astype(np.float64) - info.zero) * info.scale
