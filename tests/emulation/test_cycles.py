# SPDX-License-Identifier: Apache-2.0
"""The cycle model on small assembly blocks whose cost is known by hand from the tables."""

import shutil
import subprocess
from pathlib import Path

import pytest

from adaqat.deploy.cycles import Decoder, edge_cost, price_block
from adaqat.deploy.errors import ToolError
from adaqat.hw_models import load_timing

ASSEMBLER = "arm-none-eabi-as"


def assemble(text: str, folder: Path, cpu: str) -> bytes:
    if shutil.which(ASSEMBLER) is None:
        pytest.skip(f"{ASSEMBLER} is not installed")
    source, object_, binary = (folder / f"block.{suffix}" for suffix in ("s", "o", "bin"))
    source.write_text(f".syntax unified\n.thumb\n.text\n{text}\n")
    subprocess.run([ASSEMBLER, f"-mcpu={cpu}", source, "-o", object_], check=True)
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", object_, binary], check=True)
    return binary.read_bytes()


@pytest.mark.parametrize(
    ("code", "m0plus", "m4"),
    [
        ("adds r0, r1, r2; muls r0, r1", 2, 2),
        ("ldr r0, [r1]", 2, 2),
        ("ldr r0, [r1]; ldr r2, [r3]", 4, 3),  # the second load is pipelined
        ("ldr r1, [r0]; ldr r2, [r1]", 4, 4),  # unless it needs the first one's result
        ("ldr r0, [r1]; str r0, [r2, r3]", 4, 3),
        ("str r0, [r1]; str r0, [r2, r3]", 4, 3),
        ("adds r1, r1, #4; ldr r0, [r1]", 3, 4),  # address from the instruction before
        ("push {r4, r5, lr}", 4, 4),
        ("ldm r0!, {r1, r2, r3, r4}", 5, 5),
        ("mov r8, r0; nop", 2, 2),
    ],
)
def test_straight_blocks(code: str, m0plus: float, m4: float, tmp_path: Path) -> None:
    data = assemble(code.replace(";", "\n"), tmp_path, "cortex-m0plus")
    items = Decoder().decode(data, 0x100)
    for name, wanted in (("cortex-m0plus", m0plus), ("cortex-m4", m4)):
        block = price_block(items, load_timing(name))
        assert (block.cycles, block.ends_in_branch) == (wanted, False), name
        assert edge_cost(block, 0x800, 0x900, True, load_timing(name)) == (0.0, False)


@pytest.mark.parametrize(
    ("code", "cycles"),
    [
        ("smlad r0, r1, r2, r0", 1),
        ("smull r0, r1, r2, r3", 1),
        ("ldrd r0, r1, [r2]; ldr r4, [r3]", 3 + 2),
        ("mul r0, r1, r2; ldr r0, [r1], #4; ldr r2, [r1], #4", 1 + 2 + 1),
        ("cmp r0, r1; ite gt; movgt r0, #1; movle r0, #2", 1 + 0 + 1 + 1),  # folded
        ("add.w r8, r8, r9; ite gt; movgt r0, #1; movle r0, #2", 1 + 1 + 1 + 1),
        ("nop; add.w r0, r0, r1; add.w r0, r0, r1; add.w r0, r0, r1", 4 + 1),  # misaligned run
        ("nop; add.w r0, r0, r1; add.w r0, r0, r1; nop", 4),
        ("sdiv r0, r1, r2", 7),
    ],
)
def test_m4_blocks(code: str, cycles: float, tmp_path: Path) -> None:
    data = assemble(code.replace(";", "\n"), tmp_path, "cortex-m4")
    assert price_block(Decoder().decode(data, 0x100), load_timing("cortex-m4")).cycles == cycles


def test_m33_load_use(tmp_path: Path) -> None:
    timing = load_timing("cortex-m33")
    for code, cycles in (("ldr r0, [r1]\nadd r0, r2", 3), ("ldr r0, [r1]\nadd r3, r2", 2)):
        data = assemble(code, tmp_path, "cortex-m33")
        assert price_block(Decoder().decode(data, 0), timing).cycles == cycles


@pytest.mark.parametrize(
    ("code", "m0plus", "m4"),
    [
        # (taken, not taken), the block's other instruction costs one cycle
        ("adds r0, #1; bne 0x40", (2, 1), (2, 1)),
        ("adds r0, #1; b 0x40", (2, 2), (2, 2)),
        ("adds r0, #1; bl 0x40", (3, 3), (2, 2)),
        ("adds r0, #1; bx lr", (2, 2), (3, 3)),
        ("adds r0, #1; pop {r4, pc}", (5, 5), (6, 6)),
    ],
)
def test_branches(
    code: str, m0plus: tuple[float, float], m4: tuple[float, float], tmp_path: Path
) -> None:
    data = assemble(code.replace(";", "\n"), tmp_path, "cortex-m0plus")
    items = Decoder().decode(data, 0x100)
    end = 0x100 + len(data)
    for name, wanted in (("cortex-m0plus", m0plus), ("cortex-m4", m4)):
        timing = load_timing(name)
        block = price_block(items, timing)
        taken, was_taken = edge_cost(block, 0x40, end, False, timing)
        other, _ = edge_cost(block, end, end, False, timing)
        assert was_taken
        assert (block.cycles + taken - 1, block.cycles + other - 1) == wanted, name
        extra = 1 if name == "cortex-m4" else 0
        assert edge_cost(block, 0x42, end, True, timing)[0] == taken + extra


def test_instruction_without_a_cost_is_named(tmp_path: Path) -> None:
    data = assemble("smlad r0, r1, r2, r0", tmp_path, "cortex-m4")
    with pytest.raises(ToolError, match="'smlad r0, r1, r2, r0' has no cost on cortex-m3"):
        price_block(Decoder().decode(data, 0), load_timing("cortex-m3"))


def test_unknown_class_is_named(tmp_path: Path) -> None:
    data = assemble(".fpu fpv4-sp-d16\nvadd.f32 s0, s1, s2", tmp_path, "cortex-m4")
    with pytest.raises(ToolError, match="has no class for 'vadd"):
        Decoder().decode(data, 0)


def test_data_is_no_instruction() -> None:
    with pytest.raises(ToolError, match="bytes ffff are no instruction"):
        Decoder().decode(b"\x00\xbf\xff\xff", 0)
