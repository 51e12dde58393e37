# SPDX-License-Identifier: Apache-2.0
"""Many small networks in one compilation: the emitted C of each under a prefix of its own."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaqat.deploy import Graph, simulate
from adaqat.deploy.emit import CModel, layout, sources
from adaqat.deploy.host import STRICT, trace_bytes
from adaqat.deploy.render import render
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import host_compiler
from adaqat.deploy.vectors import make_inputs


def compile_batch(graphs: Sequence[Graph], folder: Path) -> tuple[ctypes.CDLL, list[CModel]]:
    """One shared library of all networks, without optimisation, warnings being errors."""
    models = [layout(graph, get("c99"), f"n{i}") for i, graph in enumerate(graphs)]
    includes = []
    for model in models:
        graph = model.graph
        vector = make_inputs(graph, samples=1, seed=1, extremes=False)
        texts = sources(model, (vector[0], simulate(graph, vector)[0]))
        texts[f"{model.name}_shim.c"] = render(
            "c/tools/host_shim.c.j2", name=model.name,
            input_size=graph.input_node.output.size, output_size=graph.output_node.output.size,
        )  # fmt: skip
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        includes += [f'#include "{name}"' for name in texts if name.endswith(".c")]
    (folder / "batch.c").write_text("\n".join(includes) + "\n", encoding="utf-8")
    library = folder / "batch.so"
    # the shim of a network repeats a declaration of its own file
    flags = ["-O0", "-Wno-redundant-decls", "-DADAQAT_TAP", "-shared", "-fPIC"]
    units = [str(folder / "batch.c"), "-o", str(library)]
    done = subprocess.run([*host_compiler(), *STRICT, *flags, *units],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]
    return ctypes.CDLL(str(library)), models


def trace(library: ctypes.CDLL, model: CModel, codes: np.ndarray) -> np.ndarray:
    """Recorded bytes ``[N, trace_bytes]`` of every tensor; the self test has run as well."""
    call = getattr(library, f"{model.name}_trace")
    call.restype = ctypes.c_int
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    data = np.ascontiguousarray(codes)
    found = np.zeros((len(data), trace_bytes(model)), np.uint8)
    assert call(data.ctypes.data, found.ctypes.data, len(data)) == 0, model.graph.dump()
    return found
