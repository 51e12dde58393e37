# SPDX-License-Identifier: Apache-2.0
"""Instructions and cycles of the measured node of many networks, each counted once ever."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache as remember
from importlib.metadata import version
from importlib.resources import files

import numpy as np

from ..hw_models import Core, load_core, load_timing
from .batch_image import Traced, trace_batch
from .block_prices import BlockPrices
from .count_cache import CountCache, key_of
from .decoders import decoder_of
from .emit import CModel, layout, sources
from .measured_cases import MEASURED
from .qemu import qemu_version
from .toolchain import Toolchain
from .types import IntArray
from .vectors import make_inputs

BATCH = 32
"""Networks of one image: enough to make its start cheap, few enough to keep memory small."""
_HARNESS = (
    "firmware/startup.c", "firmware/startup_riscv.c", "firmware/memory_setup.h",
    "firmware/semihosting.h", "firmware/link.ld.j2", "firmware/batch.c.j2",
    "firmware/harness.c.j2", "tools/block_hook.c", "tools/qemu_count.c",
)  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """One node: exact instructions, estimated cycles (None without a cycle table), code sizes.

    taken: taken branches, 0 where only instructions are counted. functions: bytes of the model's
    other functions by name.
    """

    instructions: int
    cycles: float | None
    code_bytes: int
    functions: dict[str, int]
    taken: int = 0


def count_models(
    models: Sequence[CModel], core: Core, toolchain: Toolchain, cache: CountCache
) -> list[Counted]:
    """The node called "measured" of every network, in order.

    Args:
        models: laid out under one common name, so that equal networks have equal text.
        core: the core; it is built for ``core.code_of`` where that is given.
        toolchain: compiler.
        cache: counts of earlier calls.

    Raises:
        ToolError: a failed build, a fault, or a core that no emulator here can count.
    """
    built = built_core(core, toolchain)
    codes = [make_inputs(m.graph, samples=1, seed=1, extremes=False) for m in models]
    keys = [_key(m, c, built, toolchain) for m, c in zip(models, codes, strict=True)]
    traces: dict[str, Traced] = {}
    for key in keys:
        entry = cache.get(key)
        if entry is not None:
            traces[key] = Traced.from_json(entry)
    # Different shapes may give equal text at the same input: one of them is counted.
    absent = list({key: i for i, key in enumerate(keys) if key not in traces}.items())
    for part in _batches(absent, models, built):
        named = [
            layout(models[index].graph, models[index].target, f"b{slot:02}")
            for slot, (_, index) in enumerate(part)
        ]
        inputs = [codes[index] for _, index in part]
        found = trace_batch(named, inputs, MEASURED, built, toolchain)
        for (key, _), trace in zip(part, found, strict=True):
            cache.put(key, trace.to_json())
            traces[key] = trace
    return [_priced(traces[key], core) for key in keys]


def built_core(core: Core, toolchain: Toolchain) -> Core:
    """The core whose flags the compiler gets: ``core.code_of`` is shown for GCC only."""
    return load_core(core.code_of) if core.code_of and toolchain.kind == "gcc" else core


def _batches(
    absent: Sequence[tuple[str, int]], models: Sequence[CModel], core: Core
) -> Iterator[list[tuple[str, int]]]:
    """Parts that fit one image: a half of the flash is left to code."""
    part: list[tuple[str, int]] = []
    size = 0
    for key, index in absent:
        own = models[index].const_bytes
        if part and (len(part) == BATCH or size + own > core.memory.flash.size // 2):
            yield part
            part, size = [], 0
        part.append((key, index))
        size += own
    if part:
        yield part


def _priced(trace: Traced, core: Core) -> Counted:
    cycles, taken = None, 0
    if core.timing is not None and trace.blocks is not None and trace.transitions is not None:
        decoder = decoder_of(core)
        decoded = {at: decoder.decode(code, at) for at, code in trace.blocks.items()}
        total = BlockPrices(decoded, load_timing(core.timing)).total(trace.transitions)
        cycles, taken = total.cycles, total.taken
    return Counted(trace.instructions, cycles, trace.code_bytes, trace.functions, taken)


def _key(model: CModel, codes: IntArray, core: Core, toolchain: Toolchain) -> str:
    """Identity of everything that can change a count; comments cannot."""
    info = model.graph.output_node.output
    texts = sources(model, (codes[0], np.zeros(info.shape, np.int64)))
    text = "\0".join(text for name, text in sorted(texts.items()) if "self_test" not in name)
    return key_of(
        {
            "source": re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL),
            "input": hashlib.sha256(codes.tobytes()).hexdigest(),
            "compiler": toolchain.version,
            "flags": " ".join(toolchain.flags(core)),
            "isa": core.isa,
            "memory": core.memory.model_dump_json(),
            "emulator": core.unicorn or core.qemu_machine or "",
            "harness": _harness(),
        }
    )


@remember
def _harness() -> str:
    """Hash over what surrounds the network: start-up, harness, counting hook, emulator."""
    root = files("adaqat.templates") / "c"
    digest = hashlib.sha256(f"{version('unicorn')} {qemu_version()}".encode())
    for name in _HARNESS:
        digest.update((root / name).read_bytes() + b"\0")
    return digest.hexdigest()
