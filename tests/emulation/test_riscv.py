# SPDX-License-Identifier: Apache-2.0
"""RISC-V: outputs, exact counts, stack, the static check, and what goes wrong is explained."""

from pathlib import Path

import numpy as np
import pytest

from adaqat.deploy import Graph, verify
from adaqat.deploy import emulate as emulate_module
from adaqat.deploy import toolchain as toolchain_module
from adaqat.deploy.block_counter import hook_library
from adaqat.deploy.decoders import RV32IMC, RiscvDecoder
from adaqat.deploy.elf import read_image
from adaqat.deploy.emulate import Emulation, emulate
from adaqat.deploy.errors import ToolError
from adaqat.deploy.firmware import Interface, build_firmware
from adaqat.deploy.isa_check import check_isa, foreign_instructions
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.toolchain import file_hash, find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import load_core

from .conftest import FIXTURES, TINY, TINY_NODES, BuildTiny, expected, toolchain

CORE = "riscv32"


@pytest.fixture
def elf(build_tiny: BuildTiny) -> Path:
    """The tiny model for RISC-V."""
    return build_tiny(CORE, "zig")


def run(elf: Path, x: np.ndarray, **options: bool | int) -> Emulation:
    return emulate(elf, load_core(CORE), x.tobytes(), "tiny_run", TINY_NODES, **options)


def test_output_equals_reference_and_arm(
    elf: Path, build_tiny: BuildTiny, samples: np.ndarray
) -> None:
    result = run(elf, samples, check_alignment=True)
    assert (result.status, result.samples) == (0, len(samples))
    assert result.output == expected(samples)[1].tobytes()
    arm = load_core("cortex-m4")
    other = emulate(build_tiny("cortex-m4", "zig"), arm, samples.tobytes(), "tiny_run")
    assert other.output == result.output


def test_tap_build_writes_every_node(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    result = run(build_tiny(CORE, "zig", tap=True), samples)
    rows = np.frombuffer(result.output, np.int8).reshape(len(samples), 16 + 4 + 4)
    scaled, output = expected(samples)
    assert np.array_equal(rows, np.concatenate([scaled, output, output], axis=1))


def test_counts_are_exact_and_deterministic(
    elf: Path, samples: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An independent count: Unicorn's code hook on every instruction of the model."""
    first = run(elf, samples)
    assert run(elf, samples) == first
    if hook_library() is not None:
        assert run(elf, samples, python_hook=True) == first
    inside = [f for f in read_image(elf).functions if f.name.startswith("tiny_")]
    seen = dict.fromkeys((f.name for f in inside), 0)
    original = emulate_module.open_machine

    def machine(*arguments: object) -> object:
        uc = original(*arguments)  # type: ignore[arg-type]

        def on_code(uc: object, address: int, size: int, user: object) -> None:
            for function in inside:
                if function.address <= address < function.address + function.size:
                    seen[function.name] += 1

        uc.hook_add(4, on_code)  # UC_HOOK_CODE
        return uc

    monkeypatch.setattr(emulate_module, "open_machine", machine)
    assert run(elf, samples) == first
    for name in TINY_NODES:
        assert first.regions[name].instructions == seen[name] > 0
    assert first.total.instructions == sum(seen.values())


def test_regions_have_counts_and_cycles(elf: Path, samples: np.ndarray) -> None:
    result = run(elf, samples)
    assert list(result.regions) == ["run", *TINY_NODES]
    for region in result.regions.values():
        assert region.calls == len(samples)
        assert region.instructions == sum(region.classes.values()) > 0
        # Ibex: no instruction takes less than one cycle, none here more than a branch's three
        assert region.cycles is not None
        assert region.instructions < region.cycles < 3 * region.instructions
    assert result.timing == "riscv32"
    # 4 x 4 loop rounds, each with one byte load, whatever the data; and 16 products.
    assert result.regions["tiny_n1_sum"].classes["load"] == 16 * len(samples)
    assert result.regions["tiny_n0_scale"].classes["mul"] == 16 * len(samples)


def test_stack_is_that_of_the_model(elf: Path, samples: np.ndarray) -> None:
    stack = run(elf, samples).stack_bytes
    assert stack is not None and 4 <= stack <= 64 and stack % 4 == 0


def test_status_of_the_model_is_the_exit_status(elf: Path, samples: np.ndarray) -> None:
    samples[2, 0] = -128
    result = run(elf, samples)
    assert (result.status, len(result.output)) == (7, 2 * 4)


def test_same_image_from_two_directories(elf: Path, tmp_path: Path) -> None:
    again = build_firmware(
        TINY, load_core(CORE), [FIXTURES / "tiny.c"], [FIXTURES], tmp_path / "other",
        toolchain("zig"),
    )  # fmt: skip
    assert file_hash(again) == file_hash(elf)


def test_image_holds_only_rv32imc(elf: Path) -> None:
    image = read_image(elf)
    assert foreign_instructions(image, load_core(CORE)) == []
    sizes = {
        item.size
        for start, end in image.code_ranges
        for item in RiscvDecoder().decode(image.read(start, end - start), start)
    }
    assert sizes == {2, 4}, "compressed and full instructions"
    assert image.function_at(load_core(CORE).memory.flash.origin) == "Reset_Handler"


@pytest.mark.parametrize(
    ("extension", "body", "text"),
    [
        ("a", "return (tiny_status_t)__sync_fetch_and_add(c->words, 1u);", "amoadd.w"),
        ("f", "*(float *)(void *)c->words *= 3.0f; return TINY_OK;", "fmul.s"),
    ],
)
def test_other_extensions_are_refused(extension: str, body: str, text: str, tmp_path: Path) -> None:
    core = load_core(CORE).model_copy(update={"zig_cpu": f"generic_rv32+m+c+{extension}"})
    (tmp_path / "tiny.c").write_text(
        '#include "tiny.h"\ntiny_status_t tiny_run(tiny_ctx_t *c, const int8_t *i, int8_t *o)\n'
        f"{{ (void)i; (void)o; {body} }}\n"
    )
    with pytest.raises(ToolError, match=rf"RV32IMC \(rv32imc\) does not have: .*{text}"):
        build_firmware(
            TINY, core, [tmp_path / "tiny.c"], [FIXTURES], tmp_path / "b", toolchain("zig")
        )


def test_float_and_atomic_instructions_are_foreign() -> None:
    words = {"fadd.s": 0x00B50553, "lr.w": 0x1005A52F, "csrrw": 0x30059073}
    for word in words.values():
        (item,) = RiscvDecoder().decode(word.to_bytes(4, "little"), 0)
        assert item.group == "foreign", item.text
    (item,) = RiscvDecoder().decode((0x02B50533).to_bytes(4, "little"), 0)
    assert (item.group, item.text) == (RV32IMC["mul"], "mul a0, a0, a1")


def test_image_of_another_architecture_is_refused(
    elf: Path, build_tiny: BuildTiny, samples: np.ndarray
) -> None:
    arm = build_tiny("cortex-m4", "zig")
    for refuse in (lambda: check_isa(arm, load_core(CORE)), lambda: run(arm, samples)):
        with pytest.raises(ToolError, match="an image for Arm; RISC-V RV32IMC runs images for RIS"):
            refuse()
    with pytest.raises(ToolError, match="an image for RISC-V; Arm Cortex-M4 runs images for Arm"):
        check_isa(elf, load_core("cortex-m4"))


def test_data_is_no_instruction() -> None:
    with pytest.raises(ToolError, match="bytes ffffffff are no instruction"):
        RiscvDecoder().decode(b"\x01\x00" + b"\xff" * 4, 0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("*(volatile int *)0x50000000 = 1;", r"in bad_run; only the core's"),
        ('__asm__ volatile(".2byte 0");', "0x8000"),
        ('__asm__ volatile("ecall");', "raised exception [0-9]+ at 0x8000"),
        ("extern uint32_t adaqat_host_call(uint32_t, const void *); adaqat_host_call(9u, 0);",
         "raised call 0x09"),
        ("*(volatile uint32_t *)((uintptr_t)in | 1u);", "unaligned memory access"),
        ("volatile int i = 0; volatile char big[20000]; big[i] = 1;",
         "the stack needed 200[0-9][0-9] bytes"),
        ("for (;;) { *(volatile char *)out = 1; }", "more blocks ran than allowed"),
    ],
)  # fmt: skip
def test_misbehaving_firmware_is_explained(body: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.h").write_text(
        "#include <stdint.h>\ntypedef struct { uint32_t words[1]; } bad_ctx_t;\n"
        "int bad_run(bad_ctx_t *ctx, const int8_t *in, int8_t *out);\n"
    )
    (tmp_path / "bad.c").write_text(
        '#include "bad.h"\nint bad_run(bad_ctx_t *ctx, const int8_t *in, int8_t *out)\n'
        f"{{ (void)ctx; (void)in; (void)out; {body} return 0; }}\n"
    )
    core = load_core(CORE)
    elf = build_firmware(
        Interface("bad", 4, 4, "int8_t", "int8_t"), core, [tmp_path / "bad.c"], [tmp_path],
        tmp_path / "build", toolchain("zig"), stack_bytes=4096,
    )  # fmt: skip
    with pytest.raises(ToolError, match=message):
        emulate(elf, core, b"abcd", "bad_run", check_alignment=True, block_limit=100_000)


def test_firmware_without_a_host_call_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.c").write_text("void Reset_Handler(void) {}\nvoid tiny_run(void) {}\n")
    script = tmp_path / "f.ld"
    script.write_text(
        "SECTIONS { . = 0x80000000; .text : { *(.text .text.*) } /DISCARD/ : { *(.eh_frame*) }\n"
        "adaqat_bss_end = 0x80400000; adaqat_stack_limit = 0x80500000; }\n"
    )
    found = toolchain("zig")
    core = load_core(CORE)
    elf = found.build([tmp_path / "f.c"], [], core, script, tmp_path / "f.elf")
    with pytest.raises(ToolError, match=r"no function .*adaqat_host_call"):
        emulate(elf, core, b"", "Reset_Handler")


def test_compiler_choice_and_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAQAT_CC", raising=False)
    assert find_toolchain(architecture="riscv") == toolchain("zig")
    asked: list[str] = []
    monkeypatch.setattr(toolchain_module, "gcc_toolchain", asked.append)
    monkeypatch.setattr(toolchain_module, "zig_toolchain", lambda: None)
    with pytest.raises(ToolError, match=r"none found.*apt-get install gcc-riscv64-unknown-elf"):
        find_toolchain(architecture="riscv")
    with pytest.raises(ToolError, match="'gcc' was asked for and is not there"):
        find_toolchain("gcc", architecture="riscv")
    assert asked == ["riscv64-unknown-elf-gcc"] * 2


def test_verify_compares_and_counts_every_node(tiny_graph: Graph) -> None:
    codes = make_inputs(tiny_graph, samples=3)
    report = verify(tiny_graph, CORE, codes, executor="emulator")
    (result,) = report.verify
    assert result["executor"] == CORE
    assert (report.mismatches, result["samples"]) == (0, len(codes))
    assert report.totals["cycles"] > report.totals["instructions"]
    assert report.totals["instructions"] > 10_000
    counted = [row["instructions"] for row in report.nodes if row["instructions"]]
    assert len(counted) == 5 and all(count > 100 for count in counted)
    assert sum(counted) < report.totals["instructions"]


def test_qemu_board_is_not_known() -> None:
    assert qemu_missing(load_core(CORE)) == "riscv32: no QEMU board is known for it"
