# SPDX-License-Identifier: Apache-2.0
"""The emulator: outputs, counts, stack, and every way a firmware can go wrong."""

from pathlib import Path

import numpy as np
import pytest

from adaqat.deploy import emulate as emulate_module
from adaqat.deploy.block_counter import hook_library
from adaqat.deploy.emulate import Emulation, emulate
from adaqat.deploy.errors import ToolError
from adaqat.deploy.firmware import Interface, build_firmware
from adaqat.deploy.qemu import qemu_missing, run_qemu
from adaqat.deploy.toolchain import host_compiler
from adaqat.hw_models import load_core

from .conftest import TINY_NODES, BuildTiny, expected, toolchain

CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")


def run(elf: Path, core: str, x: np.ndarray, **options: bool | int) -> Emulation:
    return emulate(elf, load_core(core), x.tobytes(), "tiny_run", TINY_NODES, **options)


@pytest.mark.parametrize("core", CORES)
def test_output_equals_reference_and_qemu(
    core: str, build_tiny: BuildTiny, samples: np.ndarray
) -> None:
    elf = build_tiny(core)
    result = run(elf, core, samples)
    assert result.status == 0
    assert result.samples == len(samples)
    assert np.array_equal(
        np.frombuffer(result.output, np.int8).reshape(-1, 4), expected(samples)[1]
    )
    reason = qemu_missing(load_core(core))
    if reason is not None:
        pytest.skip(reason)
    referee = run_qemu(elf, load_core(core), samples.tobytes())
    assert (referee.status, referee.output) == (0, result.output)


def test_core_without_unicorn_model_runs_in_qemu(
    build_tiny: BuildTiny, samples: np.ndarray
) -> None:
    core = load_core("cortex-m55")
    reason = qemu_missing(core)
    if reason is not None:
        pytest.skip(reason)
    referee = run_qemu(build_tiny("cortex-m55"), core, samples.tobytes())
    assert referee.output == expected(samples)[1].tobytes()
    with pytest.raises(ToolError, match="Unicorn has no model of this core"):
        run(build_tiny("cortex-m55"), "cortex-m55", samples)


def test_zig_and_gcc_give_equal_outputs(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    outputs = {
        kind: run(build_tiny("cortex-m4", kind), "cortex-m4", samples).output
        for kind in ("gcc", "zig")
    }
    assert outputs["gcc"] == outputs["zig"] == expected(samples)[1].tobytes()


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_compiled_and_python_hook_count_the_same(
    core: str, build_tiny: BuildTiny, samples: np.ndarray
) -> None:
    if hook_library() is None:
        pytest.skip("no host C compiler for the counting hook")
    elf = build_tiny(core)
    fast = run(elf, core, samples)
    assert run(elf, core, samples, python_hook=True) == fast
    assert run(elf, core, samples) == fast
    assert fast.total.instructions > 1000


def test_regions_split_the_total(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    result = run(build_tiny("cortex-m0plus"), "cortex-m0plus", samples)
    assert list(result.regions) == ["run", *TINY_NODES]
    for region in result.regions.values():
        assert region.calls == len(samples)
        assert region.instructions == sum(region.classes.values()) > 0
        assert region.cycles is not None and region.cycles > region.instructions
    # The sum node has 4 x 4 loop rounds, each with one byte load, whatever the data.
    assert result.regions["tiny_n1_sum"].classes["load"] == 16 * len(samples)
    alone = emulate(
        build_tiny("cortex-m0plus"), load_core("cortex-m0plus"), samples.tobytes(), "tiny_run"
    )
    assert alone.total.instructions == result.total.instructions
    assert alone.total.cycles == result.total.cycles


def test_instructions_equal_a_hook_on_every_instruction(
    build_tiny: BuildTiny, samples: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An independent count: Unicorn's code hook inside the model's functions.

    On ARMv6-M, where no instruction can be skipped by an IT: the code hook leaves those out, the
    block counts keep them because they cost a cycle.
    """
    from adaqat.deploy.elf import read_image

    elf = build_tiny("cortex-m0plus")
    inside = [f for f in read_image(elf).functions if f.name.startswith("tiny_")]
    seen = 0
    original = emulate_module.open_machine

    def machine(*arguments: object) -> object:
        uc = original(*arguments)  # type: ignore[arg-type]

        def on_code(uc: object, address: int, size: int, user: object) -> None:
            nonlocal seen
            seen += any(f.address <= address < f.address + f.size for f in inside)

        uc.hook_add(4, on_code)  # UC_HOOK_CODE
        return uc

    monkeypatch.setattr(emulate_module, "open_machine", machine)
    assert run(elf, "cortex-m0plus", samples).total.instructions == seen


def test_stack_is_that_of_the_model(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    stack = run(build_tiny("cortex-m0plus"), "cortex-m0plus", samples).stack_bytes
    assert stack is not None and 8 <= stack <= 64 and stack % 4 == 0


def test_tap_build_writes_every_node(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    result = run(build_tiny("cortex-m4", tap=True), "cortex-m4", samples)
    rows = np.frombuffer(result.output, np.int8).reshape(len(samples), 16 + 4 + 4)
    scaled, output = expected(samples)
    assert np.array_equal(rows, np.concatenate([scaled, output, output], axis=1))


def test_status_of_the_model_is_the_exit_status(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    samples[2, 0] = -128
    result = run(build_tiny("cortex-m4"), "cortex-m4", samples)
    assert (result.status, len(result.output)) == (7, 2 * 4)


def test_short_sample_is_reported(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    result = emulate(
        build_tiny("cortex-m4"), load_core("cortex-m4"), samples.tobytes()[:-3], "tiny_run"
    )
    assert (result.status, result.samples) == (102, len(samples) - 1)


def test_no_input_runs_nothing(build_tiny: BuildTiny) -> None:
    result = emulate(build_tiny("cortex-m4"), load_core("cortex-m4"), b"", "tiny_run")
    assert (result.status, result.samples, result.stack_bytes) == (0, 0, None)


def test_unknown_region_is_an_error(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    with pytest.raises(ToolError, match="no function tiny_n9 in the image"):
        emulate(
            build_tiny("cortex-m4"), load_core("cortex-m4"), samples.tobytes(), "tiny_run",
            ["tiny_n9"],
        )  # fmt: skip


def test_block_limit_stops_endless_programs(build_tiny: BuildTiny, samples: np.ndarray) -> None:
    for python_hook in (False, True):
        with pytest.raises(ToolError, match="more blocks ran than allowed"):
            run(build_tiny("cortex-m4"), "cortex-m4", samples, python_hook=python_hook,
                block_limit=1000)  # fmt: skip


@pytest.mark.parametrize(
    ("body", "core", "message"),
    [
        ("*(volatile int *)0x50000000 = 1;", "cortex-m4", r"in bad_run; only the core's"),
        ('__asm__ volatile("udf #0");', "cortex-m4", "Invalid instruction .* in bad_run"),
        ('__asm__ volatile("mov r0, #9\\n\\tbkpt 0xab" ::: "r0");', "cortex-m4", "call 0x09"),
        ("*(volatile uint32_t *)((uintptr_t)in | 1u);", "cortex-m0plus", "unaligned memory access"),
        (
            "volatile char big[20000]; big[0] = 1; big[19999] = 1;",
            "cortex-m4",
            "the stack needed 200[0-9][0-9] bytes",
        ),
    ],
)
def test_misbehaving_firmware_is_explained(
    body: str, core: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.h").write_text(
        "#include <stdint.h>\ntypedef struct { uint32_t words[1]; } bad_ctx_t;\n"
        "int bad_run(bad_ctx_t *ctx, const int8_t *in, int8_t *out);\n"
    )
    (tmp_path / "bad.c").write_text(
        '#include "bad.h"\nint bad_run(bad_ctx_t *ctx, const int8_t *in, int8_t *out)\n'
        f"{{ (void)ctx; (void)in; (void)out; {body} return 0; }}\n"
    )
    elf = build_firmware(
        Interface("bad", 4, 4, "int8_t", "int8_t"), load_core(core), [tmp_path / "bad.c"],
        [tmp_path], tmp_path / "build", toolchain("gcc"), stack_bytes=4096,
    )  # fmt: skip
    with pytest.raises(ToolError, match=message):
        emulate(elf, load_core(core), b"abcd", "bad_run", check_alignment=core == "cortex-m0plus")


def test_hook_falls_back_to_python_without_a_compiler(
    build_tiny: BuildTiny, samples: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adaqat.deploy import block_counter

    fast = run(build_tiny("cortex-m4"), "cortex-m4", samples)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("ADAQAT_HOST_CC", raising=False)
    with pytest.raises(ToolError, match=r"host compiler: none found.*pip install ziglang"):
        host_compiler()
    assert block_counter.hook_library() is None
    monkeypatch.undo()
    monkeypatch.setattr(block_counter, "hook_library", lambda: None)
    assert run(build_tiny("cortex-m4"), "cortex-m4", samples) == fast
