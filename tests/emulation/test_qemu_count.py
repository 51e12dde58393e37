# SPDX-License-Identifier: Apache-2.0
"""Counting in QEMU: the plugin against Unicorn, and its messages."""

from __future__ import annotations

import numpy as np
import pytest

from adaqat.deploy.emulate import emulate
from adaqat.deploy.errors import ToolError
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.qemu_count import count_in_qemu, parse_counts
from adaqat.deploy.vector_decoder import vector_group
from adaqat.hw_models import load_core

from .conftest import TINY_NODES, BuildTiny


@pytest.mark.parametrize("name", ["cortex-m3", "cortex-m4", "cortex-m33"])
def test_the_plugin_counts_what_unicorn_counts(
    build_tiny: BuildTiny, samples: np.ndarray, name: str
) -> None:
    core = load_core(name)
    reason = qemu_missing(core)
    if reason:
        pytest.skip(reason)
    elf = build_tiny(name)
    expected = emulate(elf, core, samples.tobytes(), "tiny_run", TINY_NODES)
    found = count_in_qemu(elf, core, samples.tobytes(), "tiny_run", TINY_NODES)
    assert found.regions == expected.regions and found.total == expected.total
    assert (found.samples, found.output) == (expected.samples, expected.output)
    assert found.stack_bytes is None, "the plugin cannot see it"


def test_no_counts_is_an_error() -> None:
    with pytest.raises(ToolError, match="wrote no counts; a QEMU with plugin support"):
        parse_counts("edge 1 2 4 6 1\n")
    with pytest.raises(ToolError, match="more than 16 deep"):
        parse_counts("status 3\n")


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("ecb3 1f04", "vector_memory"),  # vldrw.u32 q0, [r3], #16
        ("ed93 3f7f", "vector_memory"),  # vldrw.u32 q1, [r3, #508]
        ("fc90 0f42", "vector_gather"),  # vldrw.u32 q0, [r0, q1]
        ("ec80 0f02", "vector_gather"),  # vstrb.32 q0, [r0, q1]
        ("fef0 ef24", "vector_multiply"),  # vmladava.u8 lr, q0, q2
        ("ee21 1e07", "vector_multiply"),  # vrmulh.s32 q0, q0, q3
        ("ef20 0844", "vector_integer"),  # vadd.i32 q0, q0, q2
        ("ff8c 4054", "vector_integer"),  # vshr.u8 q2, q2, #4
        ("fef1 0f20", "vector_integer"),  # vaddva.u8 r0, q0
        ("ec10 0f04", "vector_move"),  # vmov q0[2], q0[0], r0, r4
        ("f002 c009", "loop"),  # wlstp.8 lr, r2
        ("f01f c009", "loop"),  # letp
        ("f029 e801", "loop"),  # vctp.32 r9
        ("f000 f8d1", None),  # bl
        ("f8d3 0010", None),  # ldr.w
    ],
)
def test_groups_of_instructions(code: str, group: str | None) -> None:
    first, second = (int(part, 16) for part in code.split())
    assert vector_group(first, second) == group
