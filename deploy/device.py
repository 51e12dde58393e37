# SPDX-License-Identifier: Apache-2.0
"""The emulated executor: the emitted C as bare-metal firmware on an emulated core.

Two images are built from the same sources. The verification image reports every node's tensor;
the plain image, the one a user would flash, is counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hw_models import Core, load_core
from .elf import read_image
from .emit import CModel, sources
from .emulate import Emulation, RegionCount, emulate
from .errors import ToolError
from .firmware import Interface, build_firmware
from .host import trace_bytes
from .qemu import qemu_missing, run_qemu
from .qemu_count import count_in_qemu
from .simulate import simulate
from .toolchain import Toolchain, find_toolchain
from .types import IntArray
from .vectors import make_inputs


@dataclass(frozen=True)
class Count:
    """What one inference costs on the emulated core.

    Attributes:
        nodes: counts by node name, of one inference.
        total: the whole call.
        stack_bytes: deepest stack below the caller's.
        code_bytes: the model's functions in the linked image.
        node_code_bytes: each node's own function.
        functions: the others, by name without the model's prefix.
    """

    nodes: dict[str, RegionCount]
    total: RegionCount
    stack_bytes: int | None
    code_bytes: int
    node_code_bytes: dict[str, int]
    functions: dict[str, int]


class Device:
    """An emulated core with a model on it; use as a context manager.

    Args:
        model: the laid-out graph.
        core: name of the core.
        toolchain: compiler, the one `find_toolchain` chooses when left out.
        optimise: optimisation flag.
        referee: run in QEMU instead of Unicorn, a second opinion on the same image; nothing is
            counted then. Cores that Unicorn does not model always run in QEMU.

    Raises:
        ToolError: no compiler or emulator for the core, or a failed build.
    """

    def __init__(
        self,
        model: CModel,
        core: str,
        *,
        toolchain: Toolchain | None = None,
        optimise: str = "-O2",
        referee: bool = False,
    ) -> None:
        self.model = model
        self.core: Core = load_core(core)
        self.toolchain = toolchain or find_toolchain(architecture=self.core.architecture)
        self.optimise = optimise
        self.referee = referee
        self.in_qemu = referee or self.core.unicorn is None
        self._folder = tempfile.TemporaryDirectory(prefix="adaqat-device-")
        self._images: dict[bool, Path] = {}
        self._aligned = not self.core.aligned_only

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    @property
    def flags(self) -> str:
        """Compiler flags as text."""
        return " ".join(self.toolchain.flags(self.core, self.optimise))

    def image(self, *, tap: bool) -> Path:
        """The firmware image, built on first use."""
        if tap not in self._images:
            self._images[tap] = self._build(tap)
        return self._images[tap]

    def _build(self, tap: bool) -> Path:
        graph, name = self.model.graph, self.model.name
        folder = Path(self._folder.name) / ("tap" if tap else "plain")
        folder.mkdir()
        vector = make_inputs(graph, samples=1, seed=1, extremes=False)
        texts = sources(self.model, (vector[0], simulate(graph, vector)[0]))
        for file_name, text in texts.items():
            (folder / file_name).write_text(text, encoding="utf-8", newline="\n")
        given, made = graph.input_node.output, graph.output_node.output
        interface = Interface(
            name, given.bytes_, made.bytes_, given.type.c_name, made.type.c_name
        )
        return build_firmware(
            interface, self.core, [folder / f"{name}.c"], [folder], folder / "build",
            self.toolchain, tap=tap, optimise=self.optimise,
        )  # fmt: skip

    def trace(self, codes: IntArray) -> NDArray[np.uint8]:
        """Recorded bytes ``[N, trace_bytes]`` of codes ``[N, *input shape]``.

        On a core that faults on unaligned accesses the first sample is run once more, with every
        access checked: the emulators let them pass.

        Raises:
            ToolError: the firmware faulted, accessed memory unaligned where the core may not, or
                stopped early.
        """
        data = np.ascontiguousarray(codes).tobytes()
        elf = self.image(tap=True)
        if not self.in_qemu:
            if not self._aligned:
                first = data[: len(data) // len(codes)]
                emulate(elf, self.core, first, f"{self.model.name}_run", check_alignment=True)
                self._aligned = True
            result = emulate(elf, self.core, data, f"{self.model.name}_run")
            status, output = result.status, result.output
        else:
            reason = qemu_missing(self.core)
            if reason:
                raise ToolError(reason)
            run = run_qemu(elf, self.core, data)
            status, output = run.status, run.output
        expected = len(codes) * trace_bytes(self.model)
        if status != 0 or len(output) != expected:
            raise ToolError(
                f"{self.core.name}: the firmware ended with status {status} after"
                f" {len(output)} of {expected} bytes; status 0 is expected; report it"
            )
        return np.frombuffer(output, np.uint8).reshape(len(codes), -1)

    def count(self, codes: IntArray) -> Count | None:
        """Cost of one inference of the plain image, averaged over the given codes.

        None for the referee, which only compares. Cores that Unicorn does not model are counted
        in QEMU, without the stack.
        """
        if self.referee:
            return None
        elf = self.image(tap=False)
        idents = [node.ident for node in self.model.nodes]
        run_symbol = f"{self.model.name}_run"
        count = count_in_qemu if self.in_qemu else emulate
        result = count(
            elf, self.core, np.ascontiguousarray(codes).tobytes(), run_symbol, idents
        )
        image = read_image(elf)
        code = {
            node.node.name: sum(found.size for found in image.matching(node.ident))
            for node in self.model.nodes
        }
        functions = self.functions()
        by_name = {
            node.node.name: per_sample(result, result.regions[node.ident])
            for node in self.model.nodes
        }
        return Count(
            by_name,
            per_sample(result, result.total),
            result.stack_bytes,
            sum(functions.values()) + sum(code.values()),
            code,
            functions,
        )

    def functions(self) -> dict[str, int]:
        """Bytes of the plain image's functions that belong to no single node, by short name."""
        prefix = f"{self.model.name}_"
        nodes = {node.ident for node in self.model.nodes}
        found: dict[str, int] = {}
        for function in read_image(self.image(tap=False)).functions:
            name = function.name.split(".")[0]
            if name.startswith(prefix) and name not in nodes:
                short = name.removeprefix(prefix)
                found[short] = found.get(short, 0) + function.size
        return found


def per_sample(result: Emulation, region: RegionCount) -> RegionCount:
    """A region's counts divided by the number of inferences (rounded to whole instructions)."""
    samples = max(1, result.samples)
    share: Callable[[int], int] = lambda value: round(value / samples)  # noqa: E731
    return RegionCount(
        region.name,
        region.calls // samples,
        share(region.instructions),
        None if region.cycles is None else region.cycles / samples,
        share(region.taken_branches),
        {name: share(count) for name, count in region.classes.items()},
    )
