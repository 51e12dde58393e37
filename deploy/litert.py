# SPDX-License-Identifier: Apache-2.0
"""LiteRT's reference kernels as a second opinion on imported .tflite models.

The only place that knows which package brings the interpreter: ai-edge-litert, or tflite-runtime
where NumPy is older than 2.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ToolError
from .frontends.tflite import Imported, read_tflite
from .frontends.tflite_export import Exported
from .graph import Graph
from .simulate import simulate
from .types import IntArray

PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
EXECUTOR = "litert BUILTIN_REF"
Progress = Callable[[int, int], None]


def runtime() -> Any:
    """The module with ``Interpreter`` and ``OpResolverType``.

    Raises:
        ToolError: none is installed, or the one that is cannot run with this NumPy.
    """
    reasons = []
    for name in PACKAGES:
        try:
            module = import_module(name)
        except (ImportError, AttributeError, SystemError) as error:
            reasons.append(f"{name.split('.')[0]}: {error}")
            continue
        if name.startswith("tflite_runtime") and int(np.__version__.split(".")[0]) >= 2:
            reasons.append(f"tflite_runtime: needs NumPy 1, NumPy {np.__version__} is installed")
            continue
        return module
    raise ToolError(
        f"LiteRT: no interpreter ({'; '.join(reasons)}); ai-edge-litert, or tflite-runtime with"
        " NumPy below 2, are supported; pip install 'adaqat-deploy[tflite]'"
    )


def has_runtime() -> bool:
    """Whether LiteRT can run here."""
    try:
        runtime()
    except ToolError:
        return False
    return True


class Reference:
    """A model in LiteRT's reference kernels, with every tensor readable.

    Args:
        model: path of the file, or its bytes.
        scale: real size of an input code, for models with float input.
        zero: zero point of the input.
    """

    def __init__(self, model: Path | bytes, scale: float = 1.0, zero: int = 0) -> None:
        self._scale, self._zero = np.float32(scale), zero
        module = runtime()
        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        self._interpreter = module.Interpreter(
            **source,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]

    def run(self, codes: IntArray) -> Callable[[int], Any]:
        """Run one input (codes without batch axis); the result reads tensors by index."""
        values: Any = codes[None]
        if self._input["dtype"] == np.float32:  # the model quantises it to the same codes
            values = (values.astype(np.float32) - np.float32(self._zero)) * self._scale
        self._interpreter.set_tensor(self._input["index"], values)
        self._interpreter.invoke()
        return lambda index: self._interpreter.get_tensor(index)[0]


def compare_with_litert(
    path: Path, codes: IntArray, imported: Imported | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Compare every tensor that an operator makes with the simulator of the imported graph.

    Args:
        path: the .tflite file.
        codes: inputs ``[N, *input shape]``.
        imported: what `read_tflite` gave for it; read again when left out.
        progress: called with (samples done, samples in all).

    Returns:
        An entry like those of report.json's ``verify``, with ``per_node`` differences.
    """
    imported = imported or read_tflite(path)
    given = imported.graph.input_node.output
    reference = Reference(path, given.scale, given.zero)
    per_node = dict.fromkeys(imported.tensors.values(), 0)
    values, first = 0, None
    for n, sample in enumerate(codes):
        expected = simulate(imported.graph, codes[n : n + 1], keep=True)
        read = reference.run(sample)
        for index, name in imported.tensors.items():
            wanted, found = read(index).reshape(-1), expected[name].reshape(-1)
            differs = np.flatnonzero(wanted != found)
            values += wanted.size
            per_node[name] += len(differs)
            if len(differs) and first is None:
                at = int(differs[0])
                first = {"node": name, "sample": n, "index": at, "expected": int(wanted[at]),
                         "found": int(found[at])}  # fmt: skip
        if progress:
            progress(n + 1, len(codes))
    return {
        "executor": EXECUTOR, "samples": len(codes), "values": values,
        "mismatches": sum(per_node.values()), "first_mismatch": first, "per_node": per_node,
    }  # fmt: skip


def compare_export(
    graph: Graph, data: bytes, exported: Exported, codes: IntArray
) -> dict[str, Any]:
    """How a written .tflite file differs from its graph in LiteRT's reference kernels.

    Args:
        graph: the network that was written.
        data: the file.
        exported: what `export_tflite` gave.
        codes: inputs ``[N, *input shape]``, the graph's codes.

    Returns:
        Samples, values, differences and the largest one, also per node in ``nodes``; ``same_top``
        counts inputs whose largest output is in the same place.
    """
    reference = Reference(data)
    nodes = {name: {"values": 0, "differences": 0, "largest": 0} for name in exported.tensors}
    same_top = 0
    for n in range(len(codes)):
        expected = simulate(graph, codes[n : n + 1], keep=True)
        sample = codes[n].astype(np.int64) + exported.shifts[graph.input_node.name]
        wide = graph.input_node.output.wide
        read = reference.run(sample.astype(np.int16 if wide else np.int8))
        for name, index in exported.tensors.items():
            raw = read(index)
            shift = exported.shifts[name] if raw.dtype == np.int8 else 0
            found, wanted = raw.astype(np.int64) - shift, expected[name][0].astype(np.int64)
            step = np.abs(found - wanted)
            entry = nodes[name]
            entry["values"] += step.size
            entry["differences"] += int(np.count_nonzero(step))
            entry["largest"] = max(entry["largest"], int(step.max(initial=0)))
            if name == graph.output:
                same_top += int(found.argmax() == wanted.argmax())
    return {
        "samples": len(codes),
        "values": sum(entry["values"] for entry in nodes.values()),
        "differences": sum(entry["differences"] for entry in nodes.values()),
        "largest": max(entry["largest"] for entry in nodes.values()),
        "same_top": same_top,
        "nodes": nodes,
    }


def compare_roundings(path: Path, codes: IntArray) -> dict[str, Any]:
    """How native rounding differs from TFLite's: values, differences, largest, equal top codes."""
    exact, native = (read_tflite(path, rounding=rounding) for rounding in ("tflite", "native"))
    a, b = (simulate(one.graph, codes, keep=True) for one in (exact, native))
    nodes = {}
    for index, name in exact.tensors.items():
        if index in native.tensors:
            step = np.abs(a[name].astype(np.int64) - b[native.tensors[index]])
            nodes[native.tensors[index]] = {
                "values": step.size,
                "differences": int(np.count_nonzero(step)),
                "largest": int(step.max(initial=0)),
            }
    ends = [v[g.graph.output].reshape(len(codes), -1) for v, g in ((a, exact), (b, native))]
    return {
        "samples": len(codes),
        "values": sum(entry["values"] for entry in nodes.values()),
        "differences": sum(entry["differences"] for entry in nodes.values()),
        "same_top": int(np.count_nonzero(ends[0].argmax(axis=1) == ends[1].argmax(axis=1))),
        "nodes": nodes,
    }
