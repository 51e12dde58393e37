# SPDX-License-Identifier: Apache-2.0
"""Finding compilers, building reproducibly, and the messages when that fails."""

import dataclasses
from pathlib import Path

import pytest

from adaqat.deploy import toolchain as module
from adaqat.deploy.errors import ToolError
from adaqat.deploy.extras import require
from adaqat.deploy.firmware import build_firmware
from adaqat.deploy.qemu import qemu_missing, run_qemu
from adaqat.deploy.toolchain import file_hash, find_toolchain
from adaqat.hw_models import load_core

from .conftest import FIXTURES, TINY, BuildTiny, toolchain


def test_nothing_installed_gives_an_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gcc_toolchain", lambda program="": None)
    monkeypatch.setattr(module, "zig_toolchain", lambda: None)
    monkeypatch.delenv("ADAQAT_CC", raising=False)
    with pytest.raises(ToolError, match=r"none found.*apt-get install gcc-arm-none-eabi"):
        find_toolchain()
    with pytest.raises(ToolError, match="'zig' was asked for and is not there"):
        find_toolchain("zig")


def test_environment_and_argument_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAQAT_CC", "/nowhere/gcc")
    with pytest.raises(ToolError, match="'/nowhere/gcc' was asked for"):
        find_toolchain()
    assert find_toolchain("zig") == toolchain("zig")


@pytest.mark.parametrize("kind", ["gcc", "zig"])
def test_same_image_from_two_directories(kind: str, tmp_path: Path, build_tiny: BuildTiny) -> None:
    again = build_firmware(
        TINY, load_core("cortex-m4"), [FIXTURES / "tiny.c"], [FIXTURES], tmp_path / "other",
        toolchain(kind),
    )  # fmt: skip
    assert file_hash(again) == file_hash(build_tiny("cortex-m4", kind))


def test_compiler_message_is_shown(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int f(void) { return nothing; }\n")
    with pytest.raises(ToolError, match=r"building tiny.elf .*\n.*'nothing' undeclared"):
        build_firmware(
            TINY, load_core("cortex-m4"), [tmp_path / "bad.c"], [FIXTURES], tmp_path / "b",
            toolchain("gcc"),
        )  # fmt: skip


def test_promised_feature_must_be_there(tmp_path: Path) -> None:
    core = core_with_flags("cortex-m4", ("-mcpu=cortex-m3", "-mthumb"))
    with pytest.raises(ToolError, match="does not define __ARM_FEATURE_DSP for cortex-m4"):
        build_firmware(TINY, core, [FIXTURES / "tiny.c"], [FIXTURES], tmp_path, toolchain("gcc"))


def core_with_flags(name: str, flags: tuple[str, ...]) -> module.Core:
    return load_core(name).model_copy(update={"gcc_flags": flags})


def test_flags_hold_no_path() -> None:
    for kind in ("gcc", "zig"):
        flags = toolchain(kind).flags(load_core("cortex-m4"))
        assert "-O2" in flags and not any("/" in flag for flag in flags)
        assert dataclasses.asdict(toolchain(kind))["version"]


def test_qemu_reasons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ToolError, match="qemu-system-arm is not installed"):
        run_qemu(tmp_path / "x.elf", load_core("cortex-m4"), b"")
    core = load_core("cortex-m4").model_copy(update={"qemu_machine": None})
    with pytest.raises(ToolError, match="no QEMU board is known"):
        run_qemu(tmp_path / "x.elf", core, b"")


def test_missing_extra_names_the_install_line() -> None:
    with pytest.raises(ToolError, match=r"pip install 'adaqat-deploy\[emulate\]'"):
        require("adaqat_no_such_module", "emulate")


def test_qemu_ends_an_endless_program(tmp_path: Path) -> None:
    core = load_core("cortex-m4")
    reason = qemu_missing(core)
    if reason is not None:
        pytest.skip(reason)
    (tmp_path / "tiny.c").write_text(
        '#include "tiny.h"\ntiny_status_t tiny_run(tiny_ctx_t *c, const int8_t *i, int8_t *o)\n'
        '{ (void)c; (void)i; (void)o; for (;;) { __asm__ volatile("nop"); } }\n'
    )
    elf = build_firmware(
        TINY, core, [tmp_path / "tiny.c"], [FIXTURES], tmp_path / "b", toolchain("gcc")
    )
    with pytest.raises(ToolError, match=r"tiny.elf did not end within 1 s"):
        run_qemu(elf, core, bytes(16), seconds=1)
