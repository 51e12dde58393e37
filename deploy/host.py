# SPDX-License-Identifier: Apache-2.0
"""The host executor: the emitted C as a shared library in this process, every tensor recorded."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .emit import CModel, sources
from .errors import ToolError
from .render import render
from .simulate import simulate
from .toolchain import host_compiler
from .types import IntArray
from .vectors import make_inputs

STRICT = (
    "-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual"
    " -Wcast-align -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wdouble-promotion"
    " -Wredundant-decls -Wswitch-enum -Wvla -Werror"
).split()
"""Warnings that emitted code must pass with GCC and Clang."""


def compile_host(model: CModel, folder: Path, flags: tuple[str, ...] = ("-O2",)) -> Path:
    """Compile a model with its recording shim to a shared library in ``folder``.

    Raises:
        ToolError: no compiler, or the compiler's first messages.
    """
    graph = model.graph
    vector = make_inputs(graph, samples=1, seed=1, extremes=False)
    texts = sources(model, (vector[0], simulate(graph, vector)[0]))
    texts["shim.c"] = render(
        "c/tools/host_shim.c.j2",
        name=model.name,
        input_size=graph.input_node.output.size,
        output_size=graph.output_node.output.size,
    )
    for file_name, text in texts.items():
        (folder / file_name).write_text(text, encoding="utf-8", newline="\n")
    library = folder / f"lib{model.name}.so"
    units = [str(folder / file_name) for file_name in texts if file_name.endswith(".c")]
    command = [*host_compiler(), *STRICT, *flags, "-DADAQAT_TAP", "-shared", "-fPIC", *units]
    done = subprocess.run(
        [*command, "-o", str(library)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        head = "\n".join(done.stderr.splitlines()[:12])
        raise ToolError(f"host compiler: {command[0]} failed on the emitted code:\n{head}")
    return library


def trace_bytes(model: CModel) -> int:
    """Bytes recorded per sample: every node's tensor in order, then the output."""
    return sum(node.bytes_ for node in model.nodes) + model.graph.output_node.output.bytes_


class HostModel:
    """A compiled model loaded into this process; use as a context manager.

    Raises:
        ToolError: the build failed.
    """

    def __init__(self, model: CModel, flags: tuple[str, ...] = ("-O2",)) -> None:
        self.model = model
        self._folder = tempfile.TemporaryDirectory(prefix="adaqat-host-")
        try:
            library = ctypes.CDLL(str(compile_host(model, Path(self._folder.name), flags)))
        except BaseException:
            self._folder.cleanup()
            raise
        self._call = getattr(library, f"{model.name}_trace")
        self._call.restype = ctypes.c_int
        self._call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

    def __enter__(self) -> HostModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    def trace(self, codes: IntArray) -> NDArray[np.uint8]:
        """Recorded bytes ``[N, trace_bytes]`` of codes ``[N, *input shape]`` in their container.

        Raises:
            ToolError: the emitted self test fails on this compiler.
        """
        data = np.ascontiguousarray(codes)
        trace = np.zeros((len(data), trace_bytes(self.model)), np.uint8)
        status = self._call(data.ctypes.data, trace.ctypes.data, len(data))
        if status != 0:
            raise ToolError(
                f"host executor: {self.model.name}_self_test returned {status}; this compiler"
                f" ({host_compiler()[0]}) computes other integers than the simulator; report it"
            )
        return trace
