# SPDX-License-Identifier: Apache-2.0
"""The emitted Verilog in Verilator: frames in, every node's stream and the cycles out."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ToolError
from ..types import IntArray
from .design import Design
from .emit import beats_of, memories, padded_width, verilog
from .plan import Port
from .schedule import schedule
from .tools import call, compile_flags, cxx, runtime, verilator
from .words import print_template

Int64 = NDArray[np.int64]
DEADLOCK = 3
"""Exit status of the harness when nothing moves any more."""


@dataclass(frozen=True)
class Recording:
    """What one run gave.

    Attributes:
        streams: codes ``[frames, *]`` per node in module order, then of the output.
        ends: cycle of the last output beat of every frame, from the first input beat on.
        stuck: whether the run ended without all output.
        wrong_last: output beats whose tlast was wrong.
    """

    streams: list[Int64]
    ends: tuple[int, ...]
    stuck: bool
    wrong_last: int


class RtlModel:
    """A design compiled to a program; use as a context manager.

    Args:
        design: the circuit.
        texts: its files by name; those of the emitter when left out (tests change them).

    Raises:
        ToolError: no Verilator, no compiler, or one of them fails.
    """

    def __init__(self, design: Design, texts: Mapping[str, str] | None = None) -> None:
        self.design = design
        self._folder = tempfile.TemporaryDirectory(prefix="adaqat-rtl-")
        self.folder = Path(self._folder.name)
        try:
            self._build(dict(texts or sources(design)))
        except BaseException:
            self._folder.cleanup()
            raise
        timed = schedule(design, 2)
        # a design that should run: give it ten times its first latency without any move
        self._patience = 10 * timed.ends[0] + 10_000 if timed else 100_000

    def __enter__(self) -> RtlModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    def _build(self, texts: dict[str, str]) -> None:
        design, name, folder = self.design, self.design.name, self.folder
        for file_name, text in texts.items():
            (folder / file_name).write_text(text, encoding="utf-8", newline="\n")
        taps = [
            {"index": i, "words": _words(module.plan.output.width)}
            for i, module in enumerate(design.modules)
        ]
        harness = print_template(
            "verilog/harness.cpp.j2", name=name, taps=taps,
            in_words=_words(padded_width(design.input)), in_beats=design.input.beats,
            out_words=_words(padded_width(design.output)), out_beats=design.output.beats,
        )  # fmt: skip
        (folder / "harness.cpp").write_text(harness, encoding="utf-8")
        tool = verilator()
        call(
            [tool.command, "--cc", f"{name}.v", "--top-module", name, "--prefix", f"V{name}",
             "-DADAQAT_TAP", "--Mdir", "made", "-O3", "-Wno-fatal", "-Wno-lint",
             "--output-split", "20000"],
            "Verilator on the emitted RTL", tool.environment, folder,
        )  # fmt: skip
        units = sorted(str(path) for path in (folder / "made").glob("*.cpp"))
        objects = [str(path) for path in runtime()]
        call(
            [*cxx(), *compile_flags(tool), "-Imade", "harness.cpp", *units, *objects, "-pthread",
             "-o", "simulate"],
            "compiling the simulation", None, folder,
        )  # fmt: skip

    def run(self, codes: IntArray, *, stalls: tuple[int, int] = (0, 0), seed: int = 0) -> Recording:
        """Run frames of codes ``[N, *input shape]``.

        Args:
            codes: input codes.
            stalls: percent of the time in which the input offers nothing, and in which the output
                is not taken.
            seed: of the stalls.
        """
        port = self.design.input
        words = _words(padded_width(port))
        data = b"".join(beat.to_bytes(4 * words, "little") for beat in beats_of(codes, port))
        (self.folder / "input.bin").write_bytes(data)
        done = subprocess.run(
            [str(self.folder / "simulate"), "input.bin", ".", str(len(codes)), str(stalls[0]),
             str(stalls[1]), str(seed + 1), str(self._patience)],
            capture_output=True, text=True, cwd=self.folder, check=False,
        )  # fmt: skip
        if done.returncode not in (0, DEADLOCK):
            raise ToolError(
                f"RTL simulation: ended with status {done.returncode}: {done.stderr[:400]}"
            )
        result = json.loads(done.stdout)
        ports = [module.plan.output for module in self.design.modules]
        streams = [self._stream(i, port, _words(port.width)) for i, port in enumerate(ports)]
        out = self.design.output
        streams.append(self._stream(len(ports), out, _words(padded_width(out))))
        return Recording(
            streams, tuple(result["ends"]), done.returncode == DEADLOCK, result["wrong_last"]
        )

    def _stream(self, index: int, port: Port, words: int) -> Int64:
        """Whole frames of codes, unsigned, ``[frames, values of a frame]``."""
        raw = np.fromfile(self.folder / f"tap{index}.bin", np.uint8)
        beats = raw.reshape(-1, 4 * words)
        frames = len(beats) // port.beats
        bits = np.unpackbits(beats[: frames * port.beats], axis=1, bitorder="little")
        lanes = bits[:, : port.width].reshape(-1, port.lanes, port.bits).astype(np.int64)
        codes: Int64 = (lanes << np.arange(port.bits)).sum(axis=2)
        return codes.reshape(frames, port.beats * port.lanes)


def sources(design: Design) -> dict[str, str]:
    """The RTL and its memory files by name."""
    return {f"{design.name}.v": verilog(design), **memories(design)}


def _words(width: int) -> int:
    return -(-width // 32)
