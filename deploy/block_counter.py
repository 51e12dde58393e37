# SPDX-License-Identifier: Apache-2.0
"""Counts block transitions in Unicorn, per region, in C where possible and else in Python.

Both counters follow the rules written in ``templates/c/tools/block_hook.c`` and give equal
numbers; the C one is about fifty times faster.
"""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .errors import ToolError
from .extras import require
from .toolchain import host_compiler

_unicorn = require("unicorn", "emulate")
_uclib = require("unicorn.unicorn_py3.unicorn", "emulate").uclib
_ON_ACCESS = _unicorn.UC_HOOK_MEM_READ | _unicorn.UC_HOOK_MEM_WRITE

MAX_DEPTH = 16
_EDGE_SLOTS = 1 << 17
_COMPILE_SECONDS = 120

Edge = tuple[int, int, int]
"""Region of the previous block, address of the previous block, address of the block."""


class CountingError(ToolError):
    """The counters cannot describe what the program did."""


@dataclass(frozen=True)
class Counts:
    """What a counter saw.

    edges: transitions out of every block that ran inside a region.
    sizes: bytes of every such block by its address.
    entries: number of calls by region number (1 is the first region).
    """

    edges: dict[Edge, int]
    sizes: dict[int, int]
    entries: dict[int, int]


class BlockCounter(Protocol):
    """A counter attached to one emulator."""

    def attach(self, uc: Any, check_alignment: bool) -> None:
        """Install the hooks; with check_alignment every unaligned access is an error."""

    def counts(self) -> Counts:
        """Numbers so far; raises `CountingError` when the program broke a rule."""


def raise_for_status(status: int, detail: int) -> None:
    """Turn a counter's status into an error; 0 is fine."""
    reasons = {
        1: "more blocks ran than allowed; the program does not end or needs a higher block_limit; "
        "raise block_limit or look for an endless loop",
        2: "more distinct branches than the table holds; count fewer nodes at once",
        3: f"counted functions are nested more than {MAX_DEPTH} deep; recursion is not supported; "
        "emit the node without it",
        4: "a block changed its size; self-modifying code is not supported; build the image again",
        5: "unaligned memory access; this core may fault on it; align the data in the emitted code",
    }
    if status:
        raise CountingError(f"emulation stopped at 0x{detail:08x}: {reasons[status]}")


class _Frame(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("return_address", "region", "outer")]


class _Edge(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("previous", "current", "region", "used")),
        ("count", ctypes.c_uint64),
    ]


_EDGE_DTYPE = np.dtype(
    [*((name, "<u4") for name in ("previous", "current", "region", "used")), ("count", "<u8")]
)


class _Counter(ctypes.Structure):
    _fields_ = [
        ("reg_read", ctypes.c_void_p),
        ("emu_stop", ctypes.c_void_p),
        ("region_at", ctypes.POINTER(ctypes.c_uint16)),
        ("size_at", ctypes.POINTER(ctypes.c_uint32)),
        ("entries", ctypes.POINTER(ctypes.c_uint64)),
        ("edges", ctypes.POINTER(_Edge)),
        ("blocks", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("code_start", ctypes.c_uint32),
        ("code_bytes", ctypes.c_uint32),
        ("edge_mask", ctypes.c_uint32),
        ("edges_used", ctypes.c_uint32),
        ("lr_register", ctypes.c_int32),
        *(
            (name, ctypes.c_uint32)
            for name in ("status", "depth", "region", "previous", "previous_region", "detail")
        ),
        ("frames", _Frame * MAX_DEPTH),
    ]


class CCounter:
    """The compiled counter."""

    def __init__(
        self, library: Path, entries: dict[int, int], code: tuple[int, int], limit: int, link: int
    ) -> None:
        """Count regions entered at ``entries`` (address -> number) in code (start, bytes).

        link: Unicorn's number of the register that holds a call's return address.
        """
        self._lib = ctypes.CDLL(str(library))
        start, size = code
        halves = size // 2 + 1
        self._region_at = (ctypes.c_uint16 * halves)()
        self._size_at = (ctypes.c_uint32 * halves)()
        self._entries = (ctypes.c_uint64 * (max(entries.values(), default=0) + 1))()
        self._edges = (_Edge * _EDGE_SLOTS)()
        for address, region in entries.items():
            self._region_at[(address - start) // 2] = region
        self._state = _Counter(
            reg_read=ctypes.cast(_uclib.uc_reg_read, ctypes.c_void_p),
            emu_stop=ctypes.cast(_uclib.uc_emu_stop, ctypes.c_void_p),
            region_at=self._region_at,
            size_at=self._size_at,
            entries=self._entries,
            edges=self._edges,
            limit=limit,
            code_start=start,
            code_bytes=size,
            edge_mask=_EDGE_SLOTS - 1,
            lr_register=link,
        )

    def attach(self, uc: Any, check_alignment: bool) -> None:
        """Install the hooks."""
        self._hook(uc, _unicorn.UC_HOOK_BLOCK, self._lib.adaqat_on_block)
        if check_alignment:
            self._hook(uc, _ON_ACCESS, self._lib.adaqat_on_access)

    def _hook(self, uc: Any, kind: int, function: Any) -> None:
        handle = ctypes.c_size_t()
        status = _uclib.uc_hook_add(
            uc._uch,
            ctypes.byref(handle),
            kind,
            ctypes.cast(function, ctypes.c_void_p),
            ctypes.cast(ctypes.byref(self._state), ctypes.c_void_p),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status:
            raise CountingError(
                f"counting hook: Unicorn refused it with status {status}; install unicorn 2.1"
            )

    def counts(self) -> Counts:
        """Numbers so far."""
        raise_for_status(self._state.status, self._state.detail)
        start = self._state.code_start
        table = np.frombuffer(memoryview(self._edges).cast("B"), dtype=_EDGE_DTYPE)
        return Counts(
            edges={
                (int(e["region"]), int(e["previous"]), int(e["current"])): int(e["count"])
                for e in table[table["used"] == 1]
            },
            sizes={start + 2 * half: size for half, size in enumerate(self._size_at) if size},
            entries={region: count for region, count in enumerate(self._entries) if count},
        )


@dataclass
class PythonCounter:
    """The same counter without a compiler."""

    entry_regions: dict[int, int]
    code: tuple[int, int]
    limit: int
    link: int
    _edges: dict[Edge, int] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _calls: dict[int, int] = field(default_factory=dict)
    _frames: list[tuple[int, int, int]] = field(default_factory=list)
    _blocks: int = 0
    _region: int = 0
    _previous: tuple[int, int] = (0, 0)
    _status: tuple[int, int] = (0, 0)

    def attach(self, uc: Any, check_alignment: bool) -> None:
        """Install the hooks."""
        uc.hook_add(_unicorn.UC_HOOK_BLOCK, self._on_block)
        if check_alignment:
            uc.hook_add(_ON_ACCESS, self._on_access)

    def counts(self) -> Counts:
        """Numbers so far."""
        raise_for_status(*self._status)
        return Counts(self._edges, self._sizes, self._calls)

    def _stop(self, uc: Any, status: int, detail: int) -> None:
        if self._status == (0, 0):
            self._status = (status, detail)
            uc.emu_stop()

    def _on_access(
        self, uc: Any, access: int, address: int, size: int, value: int, user: object
    ) -> None:
        if address & (size - 1):
            self._stop(uc, 5, address)

    def _on_block(self, uc: Any, address: int, size: int, user: object) -> None:
        self._blocks += 1
        if self._blocks > self.limit:
            return self._stop(uc, 1, address)
        while self._frames and self._frames[-1][0] == address:
            self._region = self._frames.pop()[2]
        if 0 <= address - self.code[0] < self.code[1]:
            if address in self.entry_regions:
                self._enter(uc, self.entry_regions[address], address)
            if self._region:
                if self._sizes.setdefault(address, size) != size:
                    self._stop(uc, 4, address)
        region, previous = self._previous
        if region:
            edge = (region, previous, address)
            self._edges[edge] = self._edges.get(edge, 0) + 1
        self._previous = (self._region, address)
        return None

    def _enter(self, uc: Any, region: int, address: int) -> None:
        link = int(uc.reg_read(self.link)) & ~1
        if self._frames and self._frames[-1][:2] == (link, region):
            return
        if len(self._frames) == MAX_DEPTH:
            return self._stop(uc, 3, address)
        self._frames.append((link, region, self._region))
        self._region = region
        self._calls[region] = self._calls.get(region, 0) + 1


def make_counter(
    entries: dict[int, int],
    code: tuple[int, int],
    limit: int,
    link: int,
    python_only: bool = False,
) -> BlockCounter:
    """The fastest counter this machine can have; python_only leaves the C one out."""
    library = None if python_only else hook_library()
    if library is None:
        return PythonCounter(entries, code, limit, link)
    return CCounter(library, entries, code, limit, link)


def hook_library() -> Path | None:
    """The compiled counter, built once per source text; None without a C compiler."""
    try:
        compiler = host_compiler()
    except ToolError:
        return None
    source = (files("adaqat.templates") / "c/tools/block_hook.c").read_text(encoding="utf-8")
    key = hashlib.sha256("\0".join([source, *compiler]).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"adaqat-hook-{os.getuid()}"
    library = folder / f"block_hook_{key}.so"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return None  # never load a library that somebody else could have written
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=folder) as build:
        c_file, built = Path(build) / "block_hook.c", Path(build) / "block_hook.so"
        c_file.write_text(source, encoding="utf-8")
        command = [*compiler, "-O2", "-shared", "-fPIC", str(c_file), "-o", str(built)]
        try:
            subprocess.run(command, capture_output=True, timeout=_COMPILE_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        os.replace(built, library)
    return library
