# SPDX-License-Identifier: Apache-2.0
"""Runs exported graphs in the executor of the qonnx package and compares every integer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaqat.deploy import Graph, simulate
from adaqat.deploy.frontends.onnx import import_onnx
from adaqat.deploy.frontends.onnx_export import export_onnx, onnx_shape

pytest.importorskip("onnx")
CORE = pytest.importorskip("qonnx.core.modelwrapper", reason="qonnx is not installed")
EXEC = pytest.importorskip("qonnx.core.onnx_exec", reason="qonnx is not installed")


def first(codes: np.ndarray) -> np.ndarray:
    """Codes [N, ...] as the file holds them: channels first."""
    return np.moveaxis(codes, -1, 1) if codes.ndim == 4 else codes


def differences(graph: Graph, codes: np.ndarray, path: Path) -> tuple[int, int]:
    """(integers compared, integers that differ) between qonnx and the simulator, every node."""
    export_onnx(graph, path, batch=len(codes))
    model = CORE.ModelWrapper(str(path))
    expected = simulate(graph, codes, keep=True)
    given = {model.graph.input[0].name: first(codes).astype(np.float32)}
    found = EXEC.execute_onnx(model, given, return_full_exec_context=True)
    count = wrong = 0
    for node in graph.nodes:
        value, wanted = found[node.name], first(expected[node.name])
        assert value.shape == (len(codes), *onnx_shape(node.output.shape)[1:])
        count += wanted.size
        wrong += int(np.count_nonzero(wanted != value))
    return count, wrong


def returns(graph: Graph, codes: np.ndarray, path: Path) -> Graph:
    """The graph written and read again; its outputs must be the same integers.

    In the file's order: a tensor of two axes is read again as a sequence, channels first.
    """
    export_onnx(graph, path)
    again = import_onnx(path)
    ends = [first(simulate(g, codes)).reshape(len(codes), -1) for g in (graph, again)]
    assert np.array_equal(*ends)
    return again
